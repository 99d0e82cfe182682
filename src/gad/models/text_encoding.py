"""Prompt embeddings, encoded once and cached; the text encoders are not needed afterwards."""

from typing import TYPE_CHECKING

import torch

from gad.diffusion.conditioning import Conditioning, concatenate_conditioning
from gad.models.families import family_by_name

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import DiffusionPipeline
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TEXT_ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")  # attributes of a pipeline


def pipeline_text_encoders(pipeline: "DiffusionPipeline | None") -> "dict[str, PreTrainedModel]":
    """The text encoders that a pipeline has, by their names in it; none without a pipeline."""
    found = {name: getattr(pipeline, name, None) for name in TEXT_ENCODERS}
    return {name: encoder for name, encoder in found.items() if encoder is not None}


def tokenizer_name(text_encoder: str) -> str:
    """The attribute of a pipeline that holds a text encoder's tokenizer."""
    return text_encoder.replace("text_encoder", "tokenizer")


def pipeline_prompt_tokens(pipeline: "DiffusionPipeline") -> int:
    """Tokens to which the longest reader pads and cuts a prompt: the stock pipeline's, or fewer that its tokenizer
    takes."""
    family = family_by_name(type(pipeline).__name__)
    tokenizer = getattr(pipeline, tokenizer_name(family.reader), None)
    return family.max_tokens if tokenizer is None else min(tokenizer.model_max_length, family.max_tokens)


def pipeline_token_readers(pipeline: "DiffusionPipeline") -> "list[tuple[PreTrainedTokenizerBase | None, int]]":
    """Whose tokens a network reads, in order, and how many of each; None for tokens of a reader that is left out."""
    family = family_by_name(type(pipeline).__name__)
    first = [getattr(pipeline, tokenizer_name(name)) for name in family.before]
    last = getattr(pipeline, tokenizer_name(family.reader), None)
    return [*((reader, reader.model_max_length) for reader in first), (last, pipeline_prompt_tokens(pipeline))]


@torch.no_grad()
def text_encoding_of_prompts(
    pipeline: "DiffusionPipeline", prompts: list[str], *, batch_size: int = 64
) -> Conditioning:
    """Conditioning of the prompts, float32 and on the CPU, as the pipeline itself encodes them (SANA without its
    instruction)."""
    encode, max_tokens = family_by_name(type(pipeline).__name__).encode, pipeline_prompt_tokens(pipeline)
    starts = range(0, len(prompts), batch_size)
    parts = (encode(pipeline, prompts[start : start + batch_size], max_tokens).to("cpu") for start in starts)
    return concatenate_conditioning(*parts).embeds_in(torch.float32)


def unconditional_text_encoding(pipeline: "DiffusionPipeline") -> Conditioning:
    """What the stock pipeline guides away from without a negative prompt, a batch of one: the empty prompt, or zeros
    where the pipeline's config asks for them (SDXL)."""
    empty = text_encoding_of_prompts(pipeline, [""])
    if not pipeline.config.get("force_zeros_for_empty_prompt"):
        return empty
    return Conditioning(**{name: torch.zeros_like(tensor) for name, tensor in empty.tensors.items()})
