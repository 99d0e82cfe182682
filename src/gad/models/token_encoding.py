"""Prompts as token ids, and the conditioning that one text encoder or a stock pipeline makes of them."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch import Tensor

from gad.diffusion.conditioning import Conditioning

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import DiffusionPipeline
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def text_encoding_tokens(
    tokenizer: "PreTrainedTokenizerBase", prompts: list[str], max_tokens: int
) -> tuple[Tensor, Tensor]:
    """Token ids and mask ``[B, L]``, padded to ``max_tokens``; longer prompts are cut with a warning."""
    warn_of_cut_prompts(tokenizer, prompts, max_tokens)
    tokens = tokenizer(
        prompts, padding="max_length", max_length=max_tokens, truncation=True, padding_side="right", return_tensors="pt"
    )
    return tokens.input_ids, tokens.attention_mask


def warn_of_cut_prompts(tokenizer: "PreTrainedTokenizerBase", prompts: list[str], max_tokens: int) -> None:
    """A warning for each prompt of more than ``max_tokens`` tokens."""
    for prompt, ids in zip(prompts, tokenizer(prompts, verbose=False).input_ids, strict=True):
        if len(ids) > max_tokens:
            warnings.warn(f"prompt cut from {len(ids)} to {max_tokens} tokens: {prompt!r}", stacklevel=3)


def encode_tokens(text_encoder: "PreTrainedModel", ids: Tensor, mask: Tensor, *, masked: bool) -> Conditioning:
    """Conditioning from token ids. Families with ``masked`` hide the padding (PixArt, SANA); SD does not."""
    embeds = text_encoder(ids, attention_mask=mask if masked else None)[0]
    return Conditioning(embeds, mask if masked else None)


def encode_by_one_encoder(pipeline: "DiffusionPipeline", prompts: list[str], max_tokens: int) -> Conditioning:
    """The conditioning of SD, which reads the padding too."""
    return _encode_by_one_encoder(pipeline, prompts, max_tokens, masked=False)


def encode_masked_by_one_encoder(pipeline: "DiffusionPipeline", prompts: list[str], max_tokens: int) -> Conditioning:
    """The conditioning of PixArt and SANA, which lower the case first and hide the padding."""
    prompts = pipeline._text_preprocessing(list(prompts), clean_caption=False)
    return _encode_by_one_encoder(pipeline, prompts, max_tokens, masked=True)


def _encode_by_one_encoder(
    pipeline: "DiffusionPipeline", prompts: list[str], max_tokens: int, *, masked: bool
) -> Conditioning:
    ids, mask = text_encoding_tokens(pipeline.tokenizer, prompts, max_tokens)
    device = pipeline.text_encoder.device
    return encode_tokens(pipeline.text_encoder, ids.to(device), mask.to(device), masked=masked)


@contextmanager
def silent_stock_warnings() -> Iterator[None]:
    """Inside the block stock pipelines do not log every prompt that one of their readers cuts: ours is warned of
    where the longest one does."""
    logger = logging.getLogger("diffusers.pipelines")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
