"""The prompts of sample ids: emoji captions, or lines of a file."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import SupportsInt

from huggingface_hub import hf_hub_download

from gad.config import Captions, PromptsConfig, PromptSource
from gad.config.sample_ids import WIDTH
from gad.data.emoji import seeds
from gad.data.emoji.held_out import evaluation_captions, training_captions
from gad.data.emoji.scenes import make_scene_prompt
from gad.runtime.paths import ROOT

COLUMN = "prompt"


def read_prompts(path: Path, *, column: str = COLUMN) -> list[str]:
    """The prompts of a file: a line each (``.txt``), or that column of a table (``.csv``, ``.parquet``); no empty ones.

    Raises ValueError, in one line, for a file that is missing, unreadable, of another kind, without the column or
    without prompts.
    """
    if not path.is_file():
        raise ValueError(f"there is no prompt file {path}")
    if path.suffix not in (".txt", ".csv", ".parquet"):
        raise ValueError(f"prompt file {path}: give a .txt, a .csv or a .parquet")
    lines = _lines(path) if path.suffix == ".txt" else _column(path, column)
    prompts = [line.strip() for line in lines if line.strip()]
    if not prompts:
        raise ValueError(f"prompt file {path} holds no prompts")
    return prompts


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (UnicodeDecodeError, OSError) as error:
        raise ValueError(f"cannot read prompt file {path}: {error}") from error


def _column(path: Path, column: str) -> list[str]:
    import pandas as pd  # here, since it takes seconds

    try:
        if path.suffix == ".csv":
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
        else:
            table = pd.read_parquet(path)
    except (ValueError, OSError) as error:  # pandas and pyarrow derive theirs from these
        raise ValueError(f"prompt file {path} is no table: {str(error).splitlines()[0]}") from error
    if column not in table:
        raise ValueError(f"prompt file {path} has no column {column!r}; it has {', '.join(table)}")
    return table[column].dropna().astype(str).tolist()


def _prompts_path(source: PromptsConfig) -> Path:
    """The file on this machine; one of a data set is fetched from the hub unless it is in the hub's cache.

    Raises ValueError, in one line, when it cannot be had.
    """
    if source.dataset is None:
        return ROOT / source.file
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


def _caption(sample_id: int, captions: Captions) -> str:
    """The emoji caption of a sample id; where they are split, an evaluation caption for ids of analyses."""
    accept = training_captions(captions) if sample_id < WIDTH else evaluation_captions(captions)
    return make_scene_prompt(sample_id, seed=seeds.NOISE_PAIRS, accept=accept).caption


def prompt_of(ids: Iterable[SupportsInt], source: PromptSource = None) -> list[str]:
    """The prompt of each sample id: a caption, or prompt ``id`` of the source, which begins again after its end.

    Ids of analyses (:mod:`gad.config.sample_ids`) count from the source's end, each task's by their place in it: number
    k of every task has the same prompt. A source with as many prompts as noise pairs and the largest task together
    keeps the two apart.
    """
    if not isinstance(source, PromptsConfig):
        return [_caption(int(i), source or "all") for i in ids]
    prompts = load_prompts(source)
    count = len(prompts)
    return [prompts[i % count if i < WIDTH else -1 - (i % WIDTH) % count] for i in map(int, ids)]
