"""Checkpoints of long work, written whole and read as plain tensors and numbers."""

from pathlib import Path

import torch

from gad.runtime.files import replacing


def write_checkpoint(path: Path, state: dict) -> None:
    with replacing(path) as partial:
        torch.save(state, partial)


def read_checkpoint(path: Path) -> dict | None:
    """A checkpoint, or None where there is none."""
    return torch.load(path, map_location="cpu", weights_only=True) if Path(path).exists() else None


LAST = "checkpoint.pt"


def _save(path: Path, parts: dict, done: int, *, writes: bool) -> None:
    """Write a checkpoint, or help to gather it."""
    states = {name: part.state_dict() for name, part in parts.items()}
    if writes:
        write_checkpoint(path, states | {"step": done})


def _resume(path: Path, parts: dict) -> int:
    """Load a checkpoint if there is one; return the number of steps that are done."""
    state = read_checkpoint(path)
    if state is None:
        return 0
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return state["step"]
