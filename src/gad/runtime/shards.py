"""Shards of a folder, and the manifest that holds their hashes."""

from pathlib import Path

from gad.runtime.files import read_json
from gad.runtime.fingerprint import file_hash


def drop_damaged_shards(folder: Path) -> None:
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
