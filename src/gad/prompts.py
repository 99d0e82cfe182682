"""Prompts from a file, for teachers that know more than this project's own world."""

from pathlib import Path

import pandas as pd

COLUMN = "prompt"


def read_prompts(path: Path, *, column: str = COLUMN) -> list[str]:
    """The prompts of a file: a line each (``.txt``, empty lines left out), or that column of a table (``.csv``).

    Raises ValueError, in one line, for a file that is missing, of another kind, without the column or without prompts.
    """
    if not path.is_file():
        raise ValueError(f"there is no prompt file {path}")
    if path.suffix not in (".csv", ".txt"):
        raise ValueError(f"prompt file {path}: give a .csv or a .txt")
    if path.suffix == ".txt":
        prompts = path.read_text(encoding="utf-8").splitlines()
    else:
        prompts = _column(path, column)
    prompts = [prompt.strip() for prompt in prompts if prompt.strip()]
    if not prompts:
        raise ValueError(f"prompt file {path} holds no prompts")
    return prompts


def _column(path: Path, column: str) -> list[str]:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"prompt file {path} is no table: {str(error).splitlines()[0]}") from error
    if column not in table:
        raise ValueError(f"prompt file {path} has no column {column!r}; it has {', '.join(table)}")
    return table[column].tolist()
