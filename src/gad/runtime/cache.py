"""Cached results of a model or a batch, written to a folder as they are made and read back from there.

So a killed stage resumes, and several processes may share the work: a stage sees the same bits whoever made them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import torch
from pyarrow import parquet as pq
from torch import Tensor

from gad.runtime.atomic import atomic_write_path
from gad.runtime.distributed import distributed_wait_until, rank_and_world_size
from gad.runtime.files import read_json, read_tensors, write_json, write_tensors
from gad.runtime.fingerprint import file_hash

TENSORS = "tensors.safetensors"
HASHES = "hashes.json"

Result = dict[str, pd.DataFrame | Tensor]
"""Tables and tensors by name."""

Parts = Mapping[str, Callable[[], Result]]
"""How the parts of a result are made, by their names."""


def write_cached_result(path: Path, result: Result) -> None:
    """Write a folder with a file per table and one for all tensors, whole or not at all."""
    with atomic_write_path(path) as partial:
        partial.mkdir()
        for name, value in result.items():
            if isinstance(value, pd.DataFrame):
                value.to_parquet(partial / f"{name}.parquet")
        write_tensors(partial / TENSORS, {name: value for name, value in result.items() if isinstance(value, Tensor)})
        write_json(partial / HASHES, {file.name: file_hash(file) for file in sorted(partial.iterdir())})


def is_whole_result(path: Path) -> bool:
    """Whether there is a folder that holds all that :func:`write_cached_result` wrote, to the bit."""
    try:
        hashes = read_json(path / HASHES)
        return all(file_hash(path / name) == hashed for name, hashed in hashes.items())
    except (OSError, ValueError, AttributeError):
        return False


def read_cached_result(path: Path) -> Result:
    """What :func:`write_cached_result` wrote; lists in tables are lists again. Tensors are memory-mapped."""
    tables = {file.stem: _read_table(file) for file in sorted(path.glob("*.parquet"))}
    return tables | read_tensors(path / TENSORS)


def _read_table(path: Path) -> pd.DataFrame:
    table = pq.read_table(path)
    rows = table.to_pandas()
    for field in table.schema:
        if pa.types.is_list(field.type):  # pandas makes arrays of arrays of them
            rows[field.name] = pd.Series(table[field.name].to_pylist(), index=rows.index, dtype=object)
    return rows


@dataclass(frozen=True)
class ResultCache:
    """Results by name: made, cached in ``folder`` and read back from there; without a folder made alone.

    A result that is damaged on the disk is made again. With ``wait`` nothing is made: another process makes it and is
    waited for.
    """

    folder: Path | None = None
    wait: bool = False

    def __call__(self, name: str, make: Callable[[], Result]) -> Result:
        if self.folder is None:
            return make()
        path = self.folder / name
        if self.wait:
            distributed_wait_until(lambda: path.exists() and is_whole_result(path))
        elif not is_whole_result(path):
            write_cached_result(path, make())
        return read_cached_result(path)

    def share(self, parts: Parts) -> Iterator[str]:
        """Make this process's share of the parts, a different one in each process; yield the name of each once it is
        cached."""
        assert self.folder is not None, "processes share what is on a disk"
        rank, processes = rank_and_world_size()
        for name, make in list(parts.items())[rank::processes]:
            if not is_whole_result(self.folder / name):
                write_cached_result(self.folder / name, make())
            yield name

    def every(self, parts: Parts) -> list[Result]:
        """All parts, distributed over the processes: each makes its share and waits for the others'."""
        if self.folder is None:
            return [make() for make in parts.values()]
        for _ in self.share(parts):
            pass
        others = ResultCache(self.folder, wait=True)
        return [others(name, make) for name, make in parts.items()]

    def batches(self, name: str, count: int, size: int, make: Callable[[Tensor], Result]) -> list[Result]:
        """``make`` of the numbers below ``count``, ``size`` of them at a time, as :meth:`every` distributes them.

        Results cached in parts of another size are not mixed in.
        """
        return self.every(batch_parts(name, count, size, make))


def batch_parts(name: str, count: int, size: int, make: Callable[[Tensor], Result]) -> Parts:
    """``make`` of the numbers below ``count``, ``size`` of them at a time, by a name that tells the size."""
    parts = torch.arange(count).split(size)
    return {f"{name}_{size}_{number}": partial(make, part) for number, part in enumerate(parts)}


at_once = ResultCache()
