"""The prompts of sample ids: emoji captions, or a recipe's own file of them."""

from functools import cache
from pathlib import Path

import pandas as pd
from huggingface_hub import hf_hub_download

from gad.artifacts import ROOT
from gad.config import PromptsConfig
from gad.worlds.emoji import make_prompt

PROMPT_SEED = 2  # emoji captions of the noise pairs; the teacher learned from seed 1
HELD_OUT = 1_000_000  # sample ids from here on take prompts from the list's end


def prompts_path(source: PromptsConfig) -> Path:
    """The file on this machine; one of a data set is fetched from the hub unless it lies in the hub's cache.

    Raises ValueError, in one line, when it cannot be had.
    """
    if source.dataset is None:
        path = ROOT / source.file
        if not path.is_file():
            raise ValueError(f"there is no file of prompts at {path}")
        return path
    try:
        return Path(hf_hub_download(source.dataset, source.file, repo_type="dataset", revision=source.revision))
    except Exception as error:  # the hub's client raises many kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"cannot have {source.file} of data set {source.dataset}: {reason}") from error


@cache
def load_prompts(source: PromptsConfig) -> tuple[str, ...]:
    """All prompts of the source, in order, empty ones left out. Raises ValueError when there are none."""
    path = prompts_path(source)
    if path.suffix == ".txt":
        values = path.read_text(encoding="utf-8").splitlines()
    else:
        try:
            read = pd.read_csv if path.suffix == ".csv" else pd.read_parquet
            columns = {"usecols" if path.suffix == ".csv" else "columns": [source.column]}
            values = read(path, **columns)[source.column].dropna().astype(str)
        except (ValueError, KeyError, OSError) as error:  # pandas and pyarrow: no such column, not such a file
            raise ValueError(f"{path} has no column {source.column!r}, or is no {path.suffix} file") from error
    prompts = tuple(value.strip() for value in values if value.strip())
    if not prompts:
        raise ValueError(f"{path} holds no prompts")
    return prompts


def prompt_of(ids, source: PromptsConfig | None = None) -> list[str]:
    """The prompt of each sample id: an emoji caption, or line ``id`` of the source, again from its start after its end.

    The ids of analyses, from ``HELD_OUT`` on, count from the end: a source with more prompts than the recipe has
    noise pairs and analysis noises keeps the two apart.
    """
    if source is None:
        return [make_prompt(int(i), seed=PROMPT_SEED).caption for i in ids]
    prompts = load_prompts(source)
    count = len(prompts)
    return [prompts[i % count if i < HELD_OUT else -1 - (i - HELD_OUT) % count] for i in map(int, ids)]
