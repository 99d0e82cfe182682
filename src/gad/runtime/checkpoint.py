"""Checkpoints of long work, written whole and read as plain tensors and numbers."""

from pathlib import Path

import torch

from gad.runtime.files import atomic_write_path

LAST = "checkpoint.pt"


class GeneratorState:
    """A random generator as a part of a checkpoint."""

    def __init__(self, generator: torch.Generator):
        self.state_dict = generator.get_state
        self.load_state_dict = generator.set_state


def _write_checkpoint(path: Path, state: dict) -> None:
    with atomic_write_path(path) as partial:
        torch.save(state, partial)


def read_checkpoint(path: Path) -> dict | None:
    """A checkpoint, or None where there is none."""
    return torch.load(path, map_location="cpu", weights_only=True) if Path(path).exists() else None


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
