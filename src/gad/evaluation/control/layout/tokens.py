"""Which tokens of a prompt are words, and which are an object's."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool
from torch import Tensor

from gad.evaluation.control.layout.nouns import noun_places
from gad.models.model import Model
from gad.models.pipelines import pipeline_family
from gad.models.text_encoding import pipeline_token_readers

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from transformers import PreTrainedTokenizerBase


def _spans(prompt: str, nouns: Sequence[str]) -> list[tuple[int, int]]:
    """Where each noun stands in the prompt, also as a plural.

    Longer nouns choose first and no letter is given twice, so that "dog" beside "hot dog" is the other one, and a noun
    given twice has its two places; where there is one place only, it is shared.
    """
    spans: dict[int, tuple[int, int]] = {}
    for row in sorted(range(len(nouns)), key=lambda row: -len(nouns[row])):
        found = noun_places(nouns[row], prompt)
        if not found:
            raise ValueError(f"the object {nouns[row]!r} is not in the prompt {prompt!r}")
        free = [(a, b) for a, b in found if all(b <= first or a >= last for first, last in spans.values())]
        spans[row] = (free or found)[0]
    return [spans[row] for row in range(len(nouns))]


def word_tokens(
    model: Model, prompts: Sequence[str], nouns: Sequence[Sequence[str]]
) -> tuple[Bool[Tensor, "B T"], Bool[Tensor, "B O T"]]:
    """The tokens that are words, and those of each object, by the places of their letters in the prompt.

    An object of several tokens has all of them. Samples with fewer objects than others have none in the remaining rows.
    Where a network reads several text encoders' tokens one after another, a word has its tokens of each. Raises
    ValueError, in one line, for a noun that the prompt does not hold, or holds behind the tokenizer's limit.
    """
    pipeline = model.pipeline
    if pipeline is None:
        raise ValueError("layout control needs prompts, and this model takes none")
    if pipeline_family(pipeline).masked:  # as the prompts are encoded
        prompts = pipeline._text_preprocessing(list(prompts), clean_caption=False)
    spans = [_spans(prompt, things) for prompt, things in zip(prompts, nouns, strict=True)]
    parts = [_reader_tokens(*reader, prompts, spans) for reader in pipeline_token_readers(pipeline)]
    words, objects = (torch.cat(found, dim=-1) for found in zip(*parts, strict=True))
    for sample, (prompt, things) in enumerate(zip(prompts, nouns, strict=True)):
        for noun, seen in zip(things, objects[sample].any(-1).tolist(), strict=False):
            if not seen:
                length = max(length for _, length in pipeline_token_readers(pipeline))
                raise ValueError(f"the object {noun!r} stands behind the first {length} tokens of {prompt!r}")
    return words, objects


def _reader_tokens(
    tokenizer: "PreTrainedTokenizerBase | None",
    length: int,
    prompts: Sequence[str],
    spans: Sequence[Sequence[tuple[int, int]]],
) -> tuple[Bool[Tensor, "B T"], Bool[Tensor, "B O T"]]:
    """The same for one reader and the objects' places in each prompt; no words where there is no such reader."""
    words = torch.zeros(len(prompts), length, dtype=torch.bool)
    objects = torch.zeros(len(prompts), max(map(len, spans)), length, dtype=torch.bool)
    if tokenizer is None:
        return words, objects
    special = set(tokenizer.all_special_ids)
    for sample, prompt in enumerate(prompts):
        found = tokenizer(prompt, return_offsets_mapping=True, truncation=True, max_length=length)
        for token, (number, (start, end)) in enumerate(zip(found["input_ids"], found["offset_mapping"], strict=True)):
            words[sample, token] = number not in special and bool(prompt[start:end].strip())
            for row, (first, last) in enumerate(spans[sample]):
                objects[sample, row, token] = words[sample, token] and start < last and end > first
    return words, objects
