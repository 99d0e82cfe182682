"""Where numbers come from: code, versions, machine, recipe, time."""

import os
import platform
import subprocess
import time
from datetime import UTC, datetime
from importlib.metadata import version

import torch

from gad.artifacts import ROOT, fingerprint
from gad.config import Recipe

PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "dvc", "numpy", "safetensors")


def git_revision() -> dict:
    """Commit of the working tree and whether files differ from it; None outside a git checkout."""
    try:
        commit = _git("rev-parse", "HEAD")
        return {"revision": commit, "dirty": bool(_git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.CalledProcessError):
        return {"revision": None, "dirty": None}


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def device_name(device: str = "auto") -> str:
    """What ``device`` is on this machine, in words."""
    if device in ("auto", "cuda") and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    if device in ("auto", "mps") and torch.backends.mps.is_available():
        return f"Apple GPU ({platform.machine()})"
    return f"CPU ({platform.machine()}, {os.cpu_count()} cores)"


def provenance(recipe: Recipe, *, started: float | None = None) -> dict:
    """Everything needed to make the numbers again; ``started`` is the ``time.time()`` of the beginning."""
    values = recipe.model_dump()
    return {
        **git_revision(),
        "recipe": recipe.name,
        "recipe_hash": fingerprint(values),
        "section_hashes": {name: fingerprint(section) for name, section in values.items() if name != "name"},
        "seeds": list(recipe.student.seeds),
        "versions": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device_name(recipe.student.device),
        "threads": torch.get_num_threads(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": None if started is None else round(time.time() - started, 1),
    }
