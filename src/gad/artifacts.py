"""The only module that knows where things lie and in which format.

Everything is written under a temporary name and then renamed, so a reader never meets half a file.
"""

import ast
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pandas as pd
import pyarrow as pa
import torch
from pyarrow import parquet as pq
from ruamel.yaml import YAML
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data"
SPRITES = DATA / "sprites"
EMOJI = DATA / "emoji"  # what all emoji recipes share: vae/, judges/
RECIPES = ROOT / "pipelines" / "recipes"
REPORTS = ROOT / "reports"
RESULTS = ROOT / "results"  # long results, committed with their provenance


def stage_dir(recipe: str, stage: str, *parts: str) -> Path:
    """``data/<recipe>/<stage>/...``; it may not exist yet."""
    return DATA.joinpath(recipe, stage, *parts)


def metrics_file(recipe: str, stage: str) -> Path:
    """``data/<recipe>/metrics/<stage>.json``."""
    return DATA / recipe / "metrics" / f"{stage}.json"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``; it takes the place of ``path`` when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    _remove(partial)
    try:
        yield partial
        if partial.is_dir():
            _remove(path)
        os.replace(partial, path)
    finally:
        _remove(partial)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def rounded(value, digits: int = 6):
    """The same nested value with floats cut to ``digits`` significant digits and non-finite ones as None."""
    if isinstance(value, dict):
        return {str(key): rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item, digits) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    return value


def write_json(path: Path, value, *, digits: int = 6) -> None:
    """Sorted keys and floats of ``digits`` significant digits (17 keep all), so that equal runs give equal bytes."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(rounded(value, digits), indent=2, sort_keys=True) + "\n")


def read_json(path: Path):
    """Raises ValueError, in one line, for a file that is no JSON."""
    try:
        return json.loads(Path(path).read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"cannot read {path}: no JSON, {error}") from error


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    with replacing(path) as partial:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Raises ValueError, in one line, for a file that is missing or not whole."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"cannot read {path}: {str(error).splitlines()[0]}") from error


def write_rows(path: Path, parts: Iterable[pd.DataFrame]) -> None:
    """Append tables of equal columns to one Parquet file as they come, so that only one part is held at a time.

    Raises ValueError when there is none.
    """
    writer = None
    with replacing(path) as partial:
        for part in parts:
            table = pa.Table.from_pandas(part, preserve_index=False)
            writer = writer or pq.ParquetWriter(partial, table.schema)
            writer.write_table(table)
        if writer is None:
            raise ValueError(f"there are no rows to write to {path}")
        writer.close()


def write_table(path: Path, rows: pd.DataFrame) -> None:
    """A table without its index, by the path's ending: Parquet, or CSV with floats of six significant digits."""
    with replacing(path) as partial:
        if path.suffix == ".parquet":
            rows.to_parquet(partial, index=False)
        else:
            rows.to_csv(partial, index=False, float_format="%.6g")


def write_checkpoint(path: Path, state: dict) -> None:
    with replacing(path) as partial:
        torch.save(state, partial)


def read_checkpoint(path: Path) -> dict | None:
    """A checkpoint, or None where there is none."""
    return torch.load(path, map_location="cpu", weights_only=True) if Path(path).exists() else None


def file_hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(*values) -> str:
    """A short hash of plain values and of the files and folders named by the paths among them."""
    digest = hashlib.sha256()
    for value in values:
        if isinstance(value, Path):
            for file in sorted(p for p in value.rglob("*") if p.is_file()) if value.is_dir() else [value]:
                if file.suffix == ".pyc":  # appears by itself beside code
                    continue
                digest.update(f"{file.relative_to(value.parent)}:{file_hash(file)}".encode())
        else:
            digest.update(json.dumps(value, sort_keys=True, default=str).encode())
    return digest.hexdigest()[:16]


def drop_damaged(folder: Path) -> None:
    """Remove the shards in ``folder`` that are not what its manifest says, and with them the manifest.

    So they are made again. Any number of processes may do so, each before it asks which shards are there.
    """
    manifest = folder / "manifest.json"
    if not manifest.exists():
        return
    try:
        shards = read_json(manifest)["shards"]
    except FileNotFoundError:  # another process has been faster
        return
    there = {folder / name: hashed for name, hashed in shards.items() if (folder / name).exists()}
    damaged = [path for path, hashed in there.items() if file_hash(path) != hashed]
    for path in damaged:
        path.unlink(missing_ok=True)
    if damaged:
        manifest.unlink(missing_ok=True)


def without_docstrings(source: str) -> str:
    """The syntax of a Python file as text, without docstrings, comments and formatting."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [line for line in node.body if not _is_text(line)]
    return ast.dump(tree)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@cache
def code_hash(stage: str) -> str:
    """A short hash of the code that decides a stage's numbers: the rooms of this package that it depends on in
    ``dvc.yaml``. Comments and docstrings do not count."""
    entry = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"][stage]
    rooms = [ROOT / name for name in entry.get("do", entry)["deps"] if name.startswith("src/")]
    files = sorted(file for room in rooms for file in (room.rglob("*.py") if room.is_dir() else [room]))
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(ROOT)}:{without_docstrings(file.read_text())}".encode())
    return digest.hexdigest()[:16]


def claim(folder: Path, owner: str) -> None:
    """Make ``folder`` hold the unfinished work of ``owner`` (a fingerprint) only: work of anyone else is thrown away.

    DVC keeps the old files of a persistent output even when its parameters or the code have changed.
    """
    mark = folder / "fingerprint.txt"
    if folder.exists() and (not mark.exists() or mark.read_text() != owner):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if not mark.exists():
        with replacing(mark) as partial:
            partial.write_text(owner)


def claimed(folder: Path, owner: str) -> bool:
    """Whether ``folder`` holds the work of ``owner``."""
    mark = folder / "fingerprint.txt"
    return mark.exists() and mark.read_text() == owner
