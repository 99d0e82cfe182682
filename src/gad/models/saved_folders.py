"""Pipelines as saved folders, whose configs are equal on every machine and of one dtype for every loader."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from gad.runtime.atomic import atomic_write_path
from gad.runtime.files import read_json

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import DiffusionPipeline

STOCK = "float32"  # what diffusers loads networks in unless it is asked for another dtype


def make_saved_folder_portable(folder: Path) -> None:
    """Rewrite the configs in a folder that diffusers and transformers have just written.

    The path that a model was loaded from, which diffusers adds to every config, is left out: equal models give equal
    bytes. transformers' models name float32, whatever their weights have on the disk: they are loaded in the dtype that
    they name, diffusers' networks in float32, and a pipeline runs in one.
    """
    for path in folder.rglob("*.json"):
        values = read_json(path)
        if isinstance(values, dict) and _changed(values):
            path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _changed(values: dict) -> bool:
    changed = values.pop("_name_or_path", None) is not None
    if "transformers_version" in values and values.get("dtype", STOCK) != STOCK:
        values["dtype"] = STOCK
        changed = True
    return changed


def save_diffusers_pipeline(pipeline: "DiffusionPipeline", folder: Path) -> None:
    """Write a pipeline as a diffusers folder, whole or not at all, that is the same on every machine and runs as stock
    loading brings it back."""
    with atomic_write_path(folder) as partial:
        pipeline.save_pretrained(partial)
        make_saved_folder_portable(partial)
