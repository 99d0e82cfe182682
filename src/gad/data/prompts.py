"""The prompts of sample ids: emoji captions, or lines of a file."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import SupportsInt

from huggingface_hub import hf_hub_download

from gad.config import Captions, PromptsConfig, PromptSource
from gad.config.sample_ids import WIDTH
from gad.data.emoji import seeds
from gad.data.emoji.caption_split import evaluation_split_captions, training_split_captions
from gad.data.emoji.scenes import Prompt, make_scene_prompt
from gad.data.prompt_file import read_prompts
from gad.runtime.paths import project_path


def _prompts_path(source: PromptsConfig) -> Path:
    """The file on this machine; one of a data set is fetched from the hub unless it is in the hub's cache.

    Raises ValueError, in one line, when it cannot be had.
    """
    if source.dataset is None:
        return project_path(source.file)
    try:
        return Path(hf_hub_download(source.dataset, source.file, repo_type="dataset", revision=source.revision))
    except Exception as error:  # the hub's client raises many kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"cannot have {source.file} of data set {source.dataset}: {reason}") from error


@cache
def load_prompts(source: PromptsConfig) -> list[str]:
    """The different prompts of the source, in order. Raises ValueError, in one line, when they cannot be had."""
    return list(dict.fromkeys(read_prompts(_prompts_path(source), column=source.column)))


def different_prompts(start: int, count: int, source: PromptSource = None) -> list[str]:
    """The first ``count`` different prompts of the sample ids from ``start`` on: parts of them share none.

    Raises ValueError, in one line, for a source that holds fewer.
    """
    if isinstance(source, PromptsConfig) and len(load_prompts(source)) < count:
        held = len(load_prompts(source))
        raise ValueError(f"{held} different prompts are too few for {count} that no two parts share; give more")
    found: dict[str, None] = {}
    sample_id = start
    while len(found) < count:
        found[prompt_of([sample_id], source)[0]] = None
        sample_id += 1
    return list(found)


def scene_prompt_of(sample_id: int, captions: Captions) -> Prompt:
    """The emoji prompt of a sample id; where captions are split, one for evaluation for ids of analyses."""
    accept = training_split_captions(captions) if sample_id < WIDTH else evaluation_split_captions(captions)
    return make_scene_prompt(sample_id, seed=seeds.NOISE_PAIRS, accept=accept)


def prompt_of(ids: Iterable[SupportsInt], source: PromptSource = None) -> list[str]:
    """The prompt of each sample id: a caption, or prompt ``id`` of the source, which begins again after its end.

    Ids of analyses (:mod:`gad.config.sample_ids`) count from the source's end, each task's by their place in it: number
    k of every task has the same prompt. A source with as many prompts as noise pairs and the largest task together
    keeps the two apart.
    """
    if not isinstance(source, PromptsConfig):
        return [scene_prompt_of(int(i), source or "all").caption for i in ids]
    prompts = load_prompts(source)
    count = len(prompts)
    return [prompts[i % count if i < WIDTH else -1 - (i % WIDTH) % count] for i in map(int, ids)]
