"""Which tokens of a prompt are words, and which are an object's."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from gad.evaluation.control.layout.nouns import noun_places
from gad.models.model import Model
from gad.models.text_encoding import STOCK_MAX_TOKENS


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
    Raises ValueError, in one line, for a noun that the prompt does not hold, or holds behind the tokenizer's limit.
    """
    pipeline = model.pipeline
    if pipeline is None:
        raise ValueError("layout control needs prompts, and this model takes none")
    name = type(pipeline).__name__
    length = min(pipeline.tokenizer.model_max_length, STOCK_MAX_TOKENS[name])
    if name != "StableDiffusionPipeline":  # as the prompts are encoded
        prompts = pipeline._text_preprocessing(list(prompts), clean_caption=False)
    words = torch.zeros(len(prompts), length, dtype=torch.bool)
    objects = torch.zeros(len(prompts), max(map(len, nouns)), length, dtype=torch.bool)
    for sample, (prompt, things) in enumerate(zip(prompts, nouns, strict=True)):
        places = pipeline.tokenizer(prompt, return_offsets_mapping=True, truncation=True, max_length=length)
        special = set(pipeline.tokenizer.all_special_ids)
        spans = list(zip(places["input_ids"], places["offset_mapping"], strict=True))
        for token, (number, (start, end)) in enumerate(spans):
            words[sample, token] = number not in special and bool(prompt[start:end].strip())
        for row, (noun, (first, last)) in enumerate(zip(things, _spans(prompt, things), strict=True)):
            for token, (_, (start, end)) in enumerate(spans):
                objects[sample, row, token] = words[sample, token] and start < last and end > first
            if not objects[sample, row].any():
                raise ValueError(f"the object {noun!r} stands behind the first {length} tokens of {prompt!r}")
    return words, objects
