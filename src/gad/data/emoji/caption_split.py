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


def caption_split_parts(prompt: Prompt) -> Parts:
    """What a caption is made of, whatever its order, count and relation: its things and its background."""
    return frozenset([*map(str, prompt.things), prompt.background])


@cache
def split_holds_out_combination(combination: Parts) -> bool:
    """Whether two parts are never together in a training; a hash decides, the same on every machine."""
    digest = hashlib.sha256(" + ".join(sorted(combination)).encode()).digest()
    return int.from_bytes(digest[:4]) % HELD_OUT == 0


def is_in_training_split(prompt: Prompt) -> bool:
    """Whether no two parts of the caption are held out."""
    return not any(
        split_holds_out_combination(frozenset(pair)) for pair in combinations(caption_split_parts(prompt), 2)
    )


@cache
def evaluator_split_parts() -> frozenset[Parts]:
    """The parts of every caption that detector and CLIP have learnt from; takes some seconds."""
    prompts = (make_scene_prompt(index, seed=seeds.EVALUATORS) for index in range(EVALUATOR_SCENES))
    return frozenset(map(caption_split_parts, prompts))


def is_in_evaluation_split(prompt: Prompt) -> bool:
    """Whether two parts of the caption are held out and, if it has two things, no evaluator saw all parts together."""
    if is_in_training_split(prompt):
        return False
    return len(prompt.things) == 1 or caption_split_parts(prompt) not in evaluator_split_parts()


def share_of_captions_in_split(prompts: Sequence[Prompt], seen: Collection[Parts]) -> float:
    """Share of prompts, in [0, 1], all of whose parts stand together in one of the captions that were ``seen``."""
    return sum(caption_split_parts(prompt) in seen for prompt in prompts) / len(prompts)


def training_split_captions(captions: Captions) -> Accept | None:
    """Which prompts teachers and noise pairs are drawn from; None for all."""
    return None if captions == "all" else is_in_training_split


def evaluation_split_captions(captions: Captions) -> Accept | None:
    """Which prompts analyses and control tasks are drawn from; None for all."""
    return None if captions == "all" else is_in_evaluation_split
