"""Shards of long work: each is written whole with its hash, and one that is damaged is made again.

A hash lies beside its shard until the manifest, which lists all of them, is there.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from gad.runtime.atomic import atomic_write_path
from gad.runtime.files import read_json, write_json, write_tensors
from gad.runtime.fingerprint import file_hash

if TYPE_CHECKING:  # imported where it is used at run time, since that takes seconds
    from torch import Tensor

MANIFEST = "manifest.json"


def _hash_file(shard: Path) -> Path:
    return shard.with_suffix(".sha256")


def write_shard(path: Path, tensors: "dict[str, Tensor]") -> None:
    """Write a shard, and its hash before it: one without a hash is not taken for whole."""
    with atomic_write_path(path) as partial:
        write_tensors(partial, tensors)
        with atomic_write_path(_hash_file(path)) as hashed:
            hashed.write_text(file_hash(partial), encoding="utf-8")


def drop_damaged_shards(folder: Path) -> None:
    """Remove the shards in ``folder`` that are not what its manifest says, and with them the manifest; while there is
    none, those that are not what their own hash says.

    So they are made again. Any number of processes may do so, each before it asks which shards are there.
    """
    try:
        shards = read_json(folder / MANIFEST)["shards"]
    except FileNotFoundError:  # unfinished, or another process has been faster
        for path in folder.glob("shard_*.safetensors"):
            if not _is_whole(path):
                path.unlink(missing_ok=True)
        return
    except (ValueError, KeyError, TypeError):
        shards = None  # a manifest that is damaged itself
    if shards is None or any(file_hash(path) != shards[path.name] for path in _listed(folder, shards)):
        for path in folder.glob("shard_*.safetensors"):
            if shards is None or file_hash(path) != shards.get(path.name):
                path.unlink(missing_ok=True)
            else:
                _hash_file(path).write_text(shards[path.name], encoding="utf-8")
        (folder / MANIFEST).unlink(missing_ok=True)


def _listed(folder: Path, shards: dict[str, str]) -> list[Path]:
    return [folder / name for name in shards if (folder / name).exists()]


def _is_whole(path: Path) -> bool:
    try:
        return file_hash(path) == _hash_file(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return False


def write_manifest(folder: Path, facts: dict[str, object], *, digits: int = 6) -> None:
    """Write the manifest of a folder whose shards are all there, with ``facts`` and the hash of each shard as it was
    written."""
    paths = sorted(folder.glob("shard_*.safetensors"))
    hashes = {}
    for path in paths:
        beside = _hash_file(path)
        hashes[path.name] = beside.read_text(encoding="utf-8") if beside.exists() else file_hash(path)
    write_json(folder / MANIFEST, facts | {"shards": hashes}, digits=digits)
    for path in paths:
        _hash_file(path).unlink(missing_ok=True)
