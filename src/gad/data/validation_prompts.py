"""Prompts by which students are validated while they train: none that a noise pair, analysis or control task has."""

from collections.abc import Iterator
from dataclasses import dataclass

from gad.config import NoisePairsConfig
from gad.config.sample_ids import ANALYSIS, FIDELITY, SEEDS
from gad.data.emoji import seeds
from gad.data.emoji.caption_split import evaluation_split_captions
from gad.data.emoji.scenes import Prompt, make_scene_prompt
from gad.data.prompts import load_prompts, prompt_of

FIRST = 1000  # sample ids of each analysis, and captions of control tasks, whose prompts are left to them
TRIED = 20_000  # emoji captions among which enough have to be left


@dataclass(frozen=True)
class ValidationPrompts:
    """Captions, and the scenes that they describe: None for prompts from a file, whose truth nobody knows."""

    captions: list[str]
    scenes: list[Prompt] | None = None


def _taken(config: NoisePairsConfig) -> set[str]:
    """The prompts of all noise pairs and of the first sample ids of each analysis and control task."""
    tasks = (range(config.num_pairs), *(range(start, start + FIRST) for start in (ANALYSIS, SEEDS, FIDELITY)))
    found = {prompt for ids in tasks for prompt in prompt_of(ids, config.prompt_source)}
    if config.prompts is None:
        accept = evaluation_split_captions(config.captions)
        found |= {make_scene_prompt(i, seed=seeds.CONTROL, accept=accept).caption for i in range(FIRST)}
    return found


def _candidates(config: NoisePairsConfig) -> Iterator[tuple[str, Prompt | None]]:
    """Captions in the order in which they are taken, with their scenes where these are known."""
    if config.prompts is not None:
        yield from ((caption, None) for caption in load_prompts(config.prompts))
        return
    accept = evaluation_split_captions(config.captions)
    for index in range(TRIED):
        scene = make_scene_prompt(index, seed=seeds.STUDENT_VALIDATION, accept=accept)
        yield scene.caption, scene


def validation_prompts(count: int, config: NoisePairsConfig) -> ValidationPrompts:
    """The first ``count`` different prompts that neither these noise pairs nor the analyses and control tasks have.

    Raises ValueError, in one line, where fewer are left.
    """
    taken = _taken(config)
    found: dict[str, Prompt | None] = {}
    for caption, scene in _candidates(config):
        if len(found) == count:
            break
        if caption not in taken:
            found.setdefault(caption, scene)
    if len(found) < count:
        raise ValueError(
            f"validation needs {count} prompts that no noise pair and no analysis has, {len(found)} are left;"
            " lower student.validation.num_prompts or give more prompts"
        )
    scenes = [scene for scene in found.values() if scene is not None]
    return ValidationPrompts(list(found), scenes or None)
