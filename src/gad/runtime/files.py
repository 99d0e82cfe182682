"""Files of every format, read and written whole.

Everything is written by :mod:`gad.runtime.atomic`, so a reader never meets half a file."""

import fcntl
import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gad.runtime.atomic import atomic_write_path
from gad.runtime.text import read_text_file

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    import pandas as pd
    from torch import Tensor


@contextmanager
def file_lock(path: Path, *, take: bool = True) -> Iterator[None]:
    """Inside the block no other process of this machine is inside one of the same ``path``; without ``take`` nothing
    is locked. A process that is killed leaves no lock."""
    if not take:
        yield
        return
    with open(path, "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed
        yield


def _rounded(value: object, digits: int = 6) -> object:
    """The same nested value with floats cut to ``digits`` significant digits and non-finite ones as None."""
    if isinstance(value, dict):
        return {str(key): _rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item, digits) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    return value


def write_json(path: Path, value: object, *, digits: int = 6) -> None:
    """Sorted keys and floats of ``digits`` significant digits (17 keep all), so that equal runs give equal bytes."""
    with atomic_write_path(path) as partial:
        partial.write_text(json.dumps(_rounded(value, digits), indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Raises ValueError, in one line, for a file that is no JSON."""
    try:
        return json.loads(read_text_file(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"cannot read {path}: no JSON, {error}") from error


def write_tensors(path: Path, tensors: "dict[str, Tensor]") -> None:
    from safetensors.torch import save_file  # here, since it imports torch

    with atomic_write_path(path) as partial:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial)


def read_tensors(path: Path) -> "dict[str, Tensor]":
    """Raises ValueError, in one line, for a file that is missing or not whole."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file  # here, since it imports torch

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"cannot read {path}: {str(error).splitlines()[0]}") from error


def write_rows(path: Path, parts: "Iterable[pd.DataFrame]") -> None:
    """Append tables of equal columns to one Parquet file as they come, so that only one part is held at a time.

    Raises ValueError when there is none.
    """
    import pyarrow as pa  # here, since it takes seconds
    from pyarrow import parquet as pq

    writer = None
    with atomic_write_path(path) as partial:
        for part in parts:
            table = pa.Table.from_pandas(part, preserve_index=False)
            writer = writer or pq.ParquetWriter(partial, table.schema)
            writer.write_table(table)
        if writer is None:
            raise ValueError(f"there are no rows to write to {path}")
        writer.close()


def write_table(path: Path, rows: "pd.DataFrame") -> None:
    """A table without its index, by the path's ending: Parquet, or CSV with floats of six significant digits."""
    with atomic_write_path(path) as partial:
        if path.suffix == ".parquet":
            rows.to_parquet(partial, index=False)
        else:
            rows.to_csv(partial, index=False, float_format="%.6g")
