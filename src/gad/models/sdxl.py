"""SDXL: a UNet that also reads the prompt's pooled embedding and the sizes of its image."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gad.diffusion.conditioning import Conditioning
from gad.models.family import NEEDS_PROMPTS, Family
from gad.models.token_encoding import silent_stock_warnings, warn_of_cut_prompts

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import DiffusionPipeline

PIXELS = 8  # to a latent's side


def call_sdxl(network: nn.Module, x_t: Tensor, timestep: Tensor, conditioning: Conditioning | None) -> Tensor:
    """The UNet's prediction for images that are as large as they are asked for and cut nowhere."""
    assert conditioning is not None and conditioning.pooled_prompt_embeds is not None, NEEDS_PROMPTS
    height, width = (PIXELS * side for side in x_t.shape[-2:])
    sizes = [height, width, 0, 0, height, width]  # original size, corner of the crop, target size
    time_ids = torch.stack([x_t.new_full((len(x_t),), size) for size in sizes], dim=1)  # a copy would be waited for
    return network(
        x_t,
        timestep,
        encoder_hidden_states=conditioning.prompt_embeds,
        added_cond_kwargs={"text_embeds": conditioning.pooled_prompt_embeds, "time_ids": time_ids},
        return_dict=False,
    )[0]


def encode_sdxl_prompts(pipeline: "DiffusionPipeline", prompts: list[str], max_tokens: int) -> Conditioning:
    """Hidden states of both CLIP encoders (or the second alone) side by side; the second one's pooled embedding."""
    warn_of_cut_prompts(pipeline.tokenizer_2, prompts, max_tokens)
    device = pipeline.text_encoder_2.device
    with silent_stock_warnings():
        embeds, _, pooled, _ = pipeline.encode_prompt(prompts, device=device, do_classifier_free_guidance=False)
    return Conditioning(embeds, pooled_prompt_embeds=pooled)


SDXL = Family(
    "unet",
    call_sdxl,
    encode_sdxl_prompts,
    "text_encoder_2",
    77,
    text_encoders=("text_encoder_2",),
    gives={"addition_embed_type": "text_time"},
    pixels=PIXELS,
)
