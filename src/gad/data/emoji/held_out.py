"""Captions held out by their words: some teachers and their students never see a tenth of the word combinations.

A caption has two or three parts: its things ("red car", "dog") and its background. Any two parts are a combination, and
a tenth of all combinations is held out: a caption is for training if it has none of these, and for evaluation if it has
one. The evaluators have learnt from all kinds of captions. Of those with two things, only the ones whose parts they
never saw together are evaluated; those with one thing they have all seen.
"""

import hashlib
from collections.abc import Collection, Sequence
from functools import cache
from itertools import combinations

from gad.config.prompts import Captions
from gad.data.emoji import seeds
from gad.data.emoji.scenes import Accept, Prompt, make_scene_prompt

Parts = frozenset[str]

HELD_OUT = 10  # one combination of so many
EVALUATOR_SCENES = 40_000  # at least as many as detector and CLIP draw in their training


def caption_parts(prompt: Prompt) -> Parts:
    """What a caption is made of, whatever its order, count and relation: its things and its background."""
    return frozenset([*map(str, prompt.things), prompt.background])


@cache
def combination_is_held_out(combination: Parts) -> bool:
    """Whether two parts are never together in a training; a hash decides, the same on every machine."""
    digest = hashlib.sha256(" + ".join(sorted(combination)).encode()).digest()
    return int.from_bytes(digest[:4]) % HELD_OUT == 0


def is_training_caption(prompt: Prompt) -> bool:
    """Whether no two parts of the caption are held out."""
    return not any(combination_is_held_out(frozenset(pair)) for pair in combinations(caption_parts(prompt), 2))


@cache
def evaluator_parts() -> frozenset[Parts]:
    """The parts of every caption that detector and CLIP have learnt from; takes some seconds."""
    prompts = (make_scene_prompt(index, seed=seeds.EVALUATORS) for index in range(EVALUATOR_SCENES))
    return frozenset(map(caption_parts, prompts))


def is_evaluation_caption(prompt: Prompt) -> bool:
    """Whether two parts of the caption are held out and, if it has two things, no evaluator saw all parts together."""
    if is_training_caption(prompt):
        return False
    return len(prompt.things) == 1 or caption_parts(prompt) not in evaluator_parts()


def overlap(prompts: Sequence[Prompt], seen: Collection[Parts]) -> float:
    """Share of prompts, in [0, 1], all of whose parts stand together in one of the captions that were ``seen``."""
    return sum(caption_parts(prompt) in seen for prompt in prompts) / len(prompts)


def training_captions(captions: Captions) -> Accept | None:
    """Which prompts teachers and noise pairs are drawn from; None for all."""
    return None if captions == "all" else is_training_caption


def evaluation_captions(captions: Captions) -> Accept | None:
    """Which prompts analyses and control tasks are drawn from; None for all."""
    return None if captions == "all" else is_evaluation_caption
