"""Files of prompts: text, CSV or Parquet."""

import csv
from collections.abc import Callable
from io import StringIO
from pathlib import Path

from gad.runtime.text import lines_of_text, read_text_file

COLUMN = "prompt"
FILE = "prompt file"


def read_prompts(path: Path, *, column: str = COLUMN) -> list[str]:
    """The prompts of a file: a line each (``.txt``), or that column of a table (``.csv``, ``.parquet``); no empty ones.

    Raises ValueError, in one line that names the file and where it can the line, for a file that is missing,
    unreadable, not UTF-8, of another kind, without the column or without prompts, and for a table with a row of another
    length than its head or a column of anything but text.
    """
    if not path.is_file():
        raise ValueError(f"there is no prompt file {path}")
    if path.suffix not in (".txt", ".csv", ".parquet"):
        raise ValueError(f"prompt file {path}: give a .txt, a .csv or a .parquet")
    try:
        lines = _readers()[path.suffix](path, column)
    except OSError as error:
        raise ValueError(f"cannot read prompt file {path}: {error.strerror or error}") from error
    prompts = [line.strip() for line in lines if line.strip()]
    if not prompts:
        raise ValueError(f"prompt file {path} holds no prompts")
    return prompts


def _readers() -> dict[str, Callable[[Path, str], list[str]]]:
    return {".txt": lambda path, _: lines_of_text(read_text_file(path, FILE)), ".csv": _csv, ".parquet": _parquet}


def _csv(path: Path, column: str) -> list[str]:
    """Row by row: pandas takes the first column for an index where every row has a comma too many."""
    reader = csv.reader(StringIO(read_text_file(path, FILE), newline=""), strict=True)
    found: list[str] = []
    head: list[str] | None = None
    try:
        for row in filter(None, reader):
            if head is None:
                head = row
                _check_column(path, column, head)
            if len(row) != len(head):
                fault = f"{len(row)} fields where the head has {len(head)}; put quotes around a prompt with commas"
                raise ValueError(f"{FILE} {path}, line {reader.line_num}: {fault}")
            found.append(row[head.index(column)])
    except csv.Error as error:
        raise ValueError(f"{FILE} {path}, line {reader.line_num}: no table, {error}") from error
    return found[1:]


def _parquet(path: Path, column: str) -> list[str]:
    import pyarrow as pa  # here, since it takes seconds
    from pyarrow import parquet as pq

    try:
        file = pq.ParquetFile(path)
        _check_column(path, column, file.schema_arrow.names)
        kind = file.schema_arrow.field(column).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
            raise ValueError(f"{FILE} {path}: column {column!r} holds {kind}, not text")
        return [prompt for prompt in file.read([column])[column].to_pylist() if prompt is not None]
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise ValueError(f"{FILE} {path} is no table: {str(error).splitlines()[0]}") from error


def _check_column(path: Path, column: str, head: list[str]) -> None:
    if head.count(column) != 1:
        how_often = "has no column" if column not in head else "has more than one column"
        raise ValueError(f"{FILE} {path} {how_often} {column!r}; it has {', '.join(head)}")
