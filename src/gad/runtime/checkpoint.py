"""Checkpoints of long work, written whole and read as plain tensors and numbers."""

import warnings
from pathlib import Path

import torch

from gad.runtime.atomic import atomic_write_path
from gad.runtime.fingerprint import file_hash

LAST = "checkpoint.pt"
REMEMBERED = 10  # hashes: of the checkpoint that is being written, and of those that it may not come to replace


class GeneratorState:
    """A random generator as a part of a checkpoint."""

    def __init__(self, generator: torch.Generator):
        self.state_dict = generator.get_state
        self.load_state_dict = generator.set_state


def _hash_file(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _hashes(path: Path) -> list[str]:
    """Hashes of the files that may stand at ``path``: the latest checkpoint's, and those of the ones before it."""
    beside = _hash_file(path)
    return beside.read_text(encoding="utf-8").split() if beside.exists() else []


def _write_checkpoint(path: Path, state: dict) -> None:
    """Write a checkpoint, and its hash before it, beside those of earlier ones: one of them stays if this one is not
    finished."""
    with atomic_write_path(path) as partial:
        torch.save(state, partial)
        with atomic_write_path(_hash_file(path)) as hashed:
            hashed.write_text("\n".join([file_hash(partial), *_hashes(path)][:REMEMBERED]), encoding="utf-8")


def read_checkpoint(path: Path) -> dict | None:
    """A checkpoint, or None where there is none, or one that is damaged: a warning says so."""
    path = Path(path)
    if not path.exists():
        return None
    hashes = _hashes(path)
    try:
        if hashes and file_hash(path) not in hashes:
            raise ValueError("another hash than it was written with")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a broken file
        reason = str(error).strip().splitlines()[0]
        warnings.warn(f"{path} is damaged ({reason}): its training begins again", stacklevel=2)
        return None


def save_checkpoint_parts(path: Path, parts: dict, numbers: dict, *, writes: bool = True) -> None:
    """Write each part's ``state_dict`` by its name, and the ``numbers``; without ``writes`` only ask the parts for it,
    as every process has to where they are sharded."""
    states = {name: part.state_dict() for name, part in parts.items()}
    if writes:
        _write_checkpoint(path, states | numbers)


def resume_checkpoint_parts(path: Path, parts: dict) -> dict:
    """Load each part from a checkpoint and return the numbers in it; an empty dict where there is none."""
    state = read_checkpoint(path)
    if state is None:
        return {}
    for name, part in parts.items():
        part.load_state_dict(state.pop(name))
    return state
