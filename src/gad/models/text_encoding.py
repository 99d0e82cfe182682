"""Prompt embeddings, encoded once and cached; the text encoder is not needed afterwards."""

import warnings
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gad.diffusion.conditioning import Conditioning, concatenate_conditioning

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import DiffusionPipeline
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def text_encoding_tokens(
    tokenizer: "PreTrainedTokenizerBase", prompts: list[str], max_tokens: int
) -> tuple[Tensor, Tensor]:
    """Token ids and mask ``[B, L]``, padded to ``max_tokens``; longer prompts are cut with a warning."""
    for prompt, ids in zip(prompts, tokenizer(prompts, verbose=False).input_ids, strict=True):
        if len(ids) > max_tokens:
            warnings.warn(f"prompt cut from {len(ids)} to {max_tokens} tokens: {prompt!r}", stacklevel=2)
    tokens = tokenizer(
        prompts, padding="max_length", max_length=max_tokens, truncation=True, padding_side="right", return_tensors="pt"
    )
    return tokens.input_ids, tokens.attention_mask


def encode_tokens(text_encoder: "PreTrainedModel", ids: Tensor, mask: Tensor, *, masked: bool) -> Conditioning:
    """Conditioning from token ids. Families with ``masked`` hide the padding (PixArt, SANA); SD does not."""
    embeds = text_encoder(ids, attention_mask=mask if masked else None)[0]
    return Conditioning(embeds, mask if masked else None)


STOCK_MAX_TOKENS = {"StableDiffusionPipeline": 77, "PixArtAlphaPipeline": 120, "SanaPipeline": 300}


@torch.no_grad()
def text_encoding_of_prompts(
    pipeline: "DiffusionPipeline", prompts: list[str], *, batch_size: int = 64
) -> Conditioning:
    """Conditioning of the prompts, float32 and on the CPU, as the pipeline itself encodes them (SANA without its
    instruction)."""
    name = type(pipeline).__name__
    masked = name != "StableDiffusionPipeline"
    if masked:  # PixArt and SANA lower the case first
        prompts = pipeline._text_preprocessing(list(prompts), clean_caption=False)
    max_tokens = min(pipeline.tokenizer.model_max_length, STOCK_MAX_TOKENS[name])
    ids, mask = text_encoding_tokens(pipeline.tokenizer, prompts, max_tokens)
    device = pipeline.text_encoder.device
    batches = zip(ids.to(device).split(batch_size), mask.to(device).split(batch_size), strict=True)
    parts = (encode_tokens(pipeline.text_encoder, *batch, masked=masked).to("cpu") for batch in batches)
    whole = concatenate_conditioning(*parts)
    return Conditioning(whole.prompt_embeds.float(), whole.prompt_attention_mask)
