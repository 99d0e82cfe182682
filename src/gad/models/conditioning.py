"""Prompt embeddings, encoded once and kept; the text encoder is not needed afterwards."""

import warnings
from dataclasses import dataclass

import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from gad.shapes import PromptEmbeds, PromptMask


@dataclass(frozen=True)
class Conditioning:
    """Text conditioning of a batch. ``prompt_attention_mask`` is None for families that do not mask (SD)."""

    prompt_embeds: PromptEmbeds
    prompt_attention_mask: PromptMask | None = None

    def __len__(self) -> int:
        return len(self.prompt_embeds)

    def __getitem__(self, index) -> "Conditioning":
        return self._map(lambda tensor: tensor[index])

    def to(self, device) -> "Conditioning":
        return self._map(lambda tensor: tensor.to(device))

    def _map(self, function) -> "Conditioning":
        mask = self.prompt_attention_mask
        return Conditioning(function(self.prompt_embeds), None if mask is None else function(mask))


def concatenate(*parts: Conditioning) -> Conditioning:
    """The batches one after another."""
    masks = [part.prompt_attention_mask for part in parts]
    return Conditioning(
        torch.cat([part.prompt_embeds for part in parts]), None if masks[0] is None else torch.cat(masks)
    )


def tokenize(tokenizer, prompts: list[str], max_tokens: int) -> tuple[Tensor, Tensor]:
    """Token ids and mask ``[B, L]``, padded to ``max_tokens``; longer prompts are cut with a warning."""
    for prompt in prompts:
        count = len(tokenizer(prompt).input_ids)
        if count > max_tokens:
            warnings.warn(f"prompt cut from {count} to {max_tokens} tokens: {prompt!r}", stacklevel=2)
    tokens = tokenizer(
        prompts, padding="max_length", max_length=max_tokens, truncation=True, padding_side="right", return_tensors="pt"
    )
    return tokens.input_ids, tokens.attention_mask


def encode_tokens(text_encoder, ids: Tensor, mask: Tensor, *, masked: bool) -> Conditioning:
    """Conditioning from token ids. Families with ``masked`` hide the padding (PixArt, SANA); SD does not."""
    embeds = text_encoder(ids, attention_mask=mask if masked else None)[0]
    return Conditioning(embeds, mask if masked else None)


@torch.no_grad()
def encode_prompts(pipeline: DiffusionPipeline, prompts: list[str], *, batch_size: int = 64) -> Conditioning:
    """Conditioning of the prompts, float32, with the pipeline's own tokenizer and text encoder."""
    masked = "StableDiffusion" not in type(pipeline).__name__
    max_tokens = min(pipeline.tokenizer.model_max_length, 300)
    ids, mask = tokenize(pipeline.tokenizer, prompts, max_tokens)
    device = pipeline.text_encoder.device
    parts = [
        encode_tokens(pipeline.text_encoder, ids[i : i + batch_size].to(device), mask[i : i + batch_size].to(device), masked=masked)
        for i in range(0, len(prompts), batch_size)
    ]
    whole = concatenate(*parts)
    return Conditioning(whole.prompt_embeds.float(), whole.prompt_attention_mask)
