"""BoxDiff's file of prompts and boxes: a JSON list with an entry per image.

``{"filename": "a_cat_and_a_chair/13.png", "objects": {"cat": [left, top, right, bottom], ...}}``, in pixels of images
of 512 x 512. The folder's name is the prompt. Published entries may lack one of the prompt's objects, or hold one that
it does not name, as a detector found them.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gad.data.boxes import GroundTruth, check_box_in_image
from gad.evaluation.control.layout.layout_prompt import LayoutPrompt
from gad.evaluation.control.layout.nouns import noun_places
from gad.runtime.text import read_text_file

FILE_SIZE = 512  # pixels on a side of the images that the boxes belong to


def read_boxdiff(path: Path) -> list[LayoutPrompt]:
    """Every different entry, with the boxes of the objects that its prompt names; entries without any are left out.

    Raises ValueError, in one line with the entry's number, for a file that is no such list, a missing key, a key given
    twice, a box that is not four finite numbers, leaves the image or has no area, and a file that names no object.
    """
    prompts = list(dict.fromkeys(prompt for prompt, _ in _entries(path)))
    named = [prompt for prompt in prompts if prompt.targets]
    if not named:
        raise ValueError(f"{path} has no entry with a box of an object that its prompt names")
    return named


def boxdiff_objects_without_name(path: Path) -> list[str]:
    """A line for each object whose box :func:`read_boxdiff` leaves out, since its prompt does not name it."""
    return [
        f"{noun!r} of entry {number} ({prompt.caption})"
        for number, (prompt, left_out) in enumerate(_entries(path))
        for noun in left_out
    ]


def _entries(path: Path) -> Iterator[tuple[LayoutPrompt, list[str]]]:
    """Each entry, and the nouns of its boxes that its prompt does not name."""
    try:
        entries = json.loads(read_text_file(path, "box file"), object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise ValueError(f"box file {path}: no JSON, {error}") from error
    except OSError as error:
        raise ValueError(f"cannot read boxes from {path}: {error.strerror or error}") from error
    if not isinstance(entries, list):
        raise ValueError(f"{path} holds a {type(entries).__name__}; expected a list of entries")
    for number, entry in enumerate(entries):
        yield _entry(entry, f"{Path(path).name}, entry {number}")


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object whose keys are all different: of two boxes under one noun Python would take the second."""
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the box file gives {key!r} twice in one entry ({value}); drop one")
        found[key] = value
    return found


def _is_side(side: object) -> bool:
    return isinstance(side, int | float) and not isinstance(side, bool) and math.isfinite(side)


def _entry(entry, where: str) -> tuple[LayoutPrompt, list[str]]:
    for key in ("filename", "objects"):
        if not isinstance(entry, dict) or key not in entry:
            raise ValueError(f"{where}: {key!r} is missing")
    folder = Path(str(entry["filename"])).parent.name
    if not folder:
        raise ValueError(f"{where}: 'filename' is {entry['filename']!r}; its folder's name is the prompt: a_cat/13.png")
    caption = folder.replace("_", " ")
    if not isinstance(entry["objects"], dict):
        raise ValueError(f"{where}: 'objects' must map nouns to boxes")
    targets, left_out = [], []
    for noun, box in entry["objects"].items():
        if not (isinstance(box, list) and len(box) == 4 and all(map(_is_side, box))):
            raise ValueError(f"{where}: the box of {noun!r} must be four numbers, not {box!r}")
        check_box_in_image(tuple(box), FILE_SIZE, f"{where}: box of {noun!r}")
        if noun_places(noun, caption):
            targets.append(GroundTruth(noun, tuple(box)))
        else:
            left_out.append(noun)
    return LayoutPrompt(caption, tuple(targets)), left_out


def boxdiff_two_objects(prompts: list[LayoutPrompt], count: int, *, seed: int) -> list[LayoutPrompt]:
    """``count`` entries with exactly two objects, drawn without repetition; fewer where there are fewer.

    The paper evaluates 800 and does not name them.
    """
    pairs = [prompt for prompt in prompts if len(prompt.targets) == 2]
    if not pairs:
        raise ValueError("the box file has no entry with two named objects")
    order = np.random.default_rng(seed).permutation(len(pairs))[:count]
    return [pairs[i] for i in sorted(order.tolist())]
