"""FLUX.1: a flow transformer on squares of 2 x 2 latents; its dev network reads the guidance scale as an input."""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from gad.diffusion.conditioning import Conditioning
from gad.diffusion.shapes import Latent
from gad.models.family import NEEDS_PROMPTS, Family
from gad.models.token_encoding import silent_stock_warnings, warn_of_cut_prompts

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import DiffusionPipeline, ModelMixin

PACK = 2  # side of a square of latents that is one token


def pack_flux_latents(x: Latent) -> Float[Tensor, "B P D"]:
    """A token for each square of 2 x 2 latents, row by row; a token holds channel after channel."""
    squares = x.unflatten(3, (-1, PACK)).unflatten(2, (-1, PACK))  # B C h 2 w 2
    return squares.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def unpack_flux_latents(tokens: Float[Tensor, "B P D"], height: int, width: int) -> Latent:
    """Latents of ``height`` x ``width`` from their tokens: the inverse of :func:`pack_flux_latents`."""
    squares = tokens.unflatten(2, (-1, PACK, PACK)).unflatten(1, (height // PACK, width // PACK))  # B h w C 2 2
    return squares.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


def flux_image_ids(height: int, width: int, *, device: torch.device) -> Float[Tensor, "P 3"]:
    """Where each token stands: 0, its row and its column. A prompt's tokens all stand at 0, 0, 0."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).flatten(0, 1).float().to(device)


def call_flux(network: "ModelMixin", x_t: Tensor, timestep: Tensor, conditioning: Conditioning | None) -> Tensor:
    """The transformer's flow prediction; a network that reads its guidance gets the conditioning's, else 1."""
    assert conditioning is not None and conditioning.pooled_prompt_embeds is not None, NEEDS_PROMPTS
    height, width = x_t.shape[-2:]
    embeds, guidance = conditioning.prompt_embeds, None
    if network.config.guidance_embeds:
        guidance = timestep.new_ones(len(x_t)) if conditioning.guidance is None else conditioning.guidance
    tokens = network(
        pack_flux_latents(x_t),
        timestep=timestep / 1000,
        guidance=guidance,
        pooled_projections=conditioning.pooled_prompt_embeds,
        encoder_hidden_states=embeds,
        txt_ids=torch.zeros(embeds.shape[1], 3, device=x_t.device),
        img_ids=flux_image_ids(height // PACK, width // PACK, device=x_t.device),
        return_dict=False,
    )[0]
    return unpack_flux_latents(tokens, height, width)


def encode_flux_prompts(pipeline: "DiffusionPipeline", prompts: list[str], max_tokens: int) -> Conditioning:
    """T5's tokens and CLIP's pooled embedding."""
    warn_of_cut_prompts(pipeline.tokenizer_2, prompts, max_tokens)
    device = pipeline.text_encoder_2.device
    with silent_stock_warnings():
        embeds, pooled, _ = pipeline.encode_prompt(prompts, device=device, max_sequence_length=max_tokens)
    return Conditioning(embeds, pooled_prompt_embeds=pooled)


FLUX = Family(
    "transformer",
    call_flux,
    encode_flux_prompts,
    "text_encoder_2",
    512,
    text_encoders=("text_encoder", "text_encoder_2"),
    gives={"guidance_embeds": True},
    pack=PACK,
    side=128,  # the stock pipeline's
    shifted=True,
    linear_sigmas=True,
    tokens_option="max_sequence_length",
)
