"""Stable Diffusion 3 and 3.5: a flow transformer whose text and image tokens attend to each other."""

from typing import TYPE_CHECKING

from torch import Tensor, nn

from gad.diffusion.conditioning import Conditioning
from gad.models.family import NEEDS_PROMPTS, Family
from gad.models.token_encoding import silent_stock_warnings, warn_of_cut_prompts

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import DiffusionPipeline


def call_sd3(network: nn.Module, x_t: Tensor, timestep: Tensor, conditioning: Conditioning | None) -> Tensor:
    """The transformer's flow prediction."""
    assert conditioning is not None and conditioning.pooled_prompt_embeds is not None, NEEDS_PROMPTS
    return network(
        x_t,
        timestep=timestep,
        encoder_hidden_states=conditioning.prompt_embeds,
        pooled_projections=conditioning.pooled_prompt_embeds,
        return_dict=False,
    )[0]


def encode_sd3_prompts(pipeline: "DiffusionPipeline", prompts: list[str], max_tokens: int) -> Conditioning:
    """Tokens of two CLIP encoders side by side, then T5's, zeros where the pipeline has none; both pooled embeddings.

    ``max_tokens`` are T5's. Prompts that only CLIP cuts are read by T5.
    """
    t5 = pipeline.tokenizer_3 if pipeline.text_encoder_3 is not None else None
    warn_of_cut_prompts(t5 or pipeline.tokenizer, prompts, max_tokens if t5 else pipeline.tokenizer_max_length)
    with silent_stock_warnings():
        embeds, _, pooled, _ = pipeline.encode_prompt(
            prompts,
            prompt_2=None,
            prompt_3=None,
            device=pipeline.text_encoder.device,
            do_classifier_free_guidance=False,
            max_sequence_length=max_tokens,
        )
    return Conditioning(embeds, pooled_prompt_embeds=pooled)


SD3 = Family(
    "transformer",
    call_sd3,
    encode_sd3_prompts,
    "text_encoder_3",
    256,
    text_encoders=("text_encoder", "text_encoder_2"),
    before=("text_encoder",),
    shifted=True,
    tokens_option="max_sequence_length",
)
