"""Where numbers come from: code, versions, machine, recipe, time."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version

import torch

from gad.config import Recipe
from gad.runtime.fingerprint import fingerprint
from gad.runtime.paths import REPORTS, ROOT

PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "dvc", "numpy", "safetensors")


def git_revision() -> dict:
    """Commit of the working tree and whether code or recipes differ from it; None outside a git checkout."""
    try:
        commit = _git("rev-parse", "HEAD")
        made = [":!dvc.lock", ":!data", ":!results"]  # what a run itself writes
        return {
            "revision": commit,
            "dirty": bool(_git("status", "--porcelain", "--untracked-files=no", "--", ".", *made)),
        }
    except (OSError, subprocess.CalledProcessError):
        return {"revision": None, "dirty": None}


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def _device_name(device: str = "auto") -> str:
    """What ``device`` is on this machine, in words."""
    if device in ("auto", "cuda") and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    if device in ("auto", "mps") and torch.backends.mps.is_available():
        return f"Apple GPU ({platform.machine()})"
    return f"CPU ({platform.machine()}, {os.cpu_count()} cores)"


def _stage_seconds(recipe: str) -> dict[str, float]:
    """How long each stage's notebook took when it last ran, by its page's name."""
    seconds = {}
    for path in sorted((REPORTS / recipe).glob("[!.]*.ipynb")):
        duration = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("papermill", {}).get("duration")
        if duration is not None and not path.stem.endswith(".failed"):
            seconds[path.stem] = round(duration, 1)
    return seconds


def provenance(recipe: Recipe) -> dict:
    """Everything needed to make the numbers again, and how long that takes."""
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
        "device": _device_name(recipe.student.device),
        "threads": torch.get_num_threads(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": _stage_seconds(recipe.name),
    }
