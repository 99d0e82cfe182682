"""BoxDiff's file of prompts and boxes: a JSON list with an entry per image.

``{"filename": "a_cat_and_a_chair/13.png", "objects": {"cat": [left, top, right, bottom], ...}}``, in pixels of images
of 512 x 512. The folder's name is the prompt. Published entries may lack one of the prompt's objects, or hold one that
it does not name, as a detector found them.
"""

import json
from pathlib import Path

import numpy as np

from gad.data.boxes import GroundTruth, check_box_in_image
from gad.evaluation.control.layout.prompts import LayoutPrompt

FILE_SIZE = 512  # pixels on a side of the images that the boxes belong to


def read_boxdiff(path: Path) -> list[LayoutPrompt]:
    """Every entry, with the boxes of the objects that its prompt names; entries without any are left out.

    Raises ValueError, in one line with the entry's number, for a file that is no such list, a missing key, a box that
    is not four numbers, leaves the image or has no area, and a file that names no object at all.
    """
    try:
        entries = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read boxes from {path}: {str(error).splitlines()[0]}") from error
    if not isinstance(entries, list):
        raise ValueError(f"{path} holds a {type(entries).__name__}; expected a list of entries")
    prompts = [_entry(entry, f"{Path(path).name}, entry {number}") for number, entry in enumerate(entries)]
    named = [prompt for prompt in prompts if prompt.targets]
    if not named:
        raise ValueError(f"{path} has no entry with a box of an object that its prompt names")
    return named


def _entry(entry, where: str) -> LayoutPrompt:
    for key in ("filename", "objects"):
        if not isinstance(entry, dict) or key not in entry:
            raise ValueError(f"{where}: {key!r} is missing")
    caption = str(entry["filename"]).split("/")[0].replace("_", " ")
    if not isinstance(entry["objects"], dict):
        raise ValueError(f"{where}: 'objects' must map nouns to boxes")
    targets = []
    for noun, box in entry["objects"].items():
        if not (isinstance(box, list) and len(box) == 4 and all(isinstance(side, int | float) for side in box)):
            raise ValueError(f"{where}: the box of {noun!r} must be four numbers, not {box!r}")
        check_box_in_image(tuple(box), FILE_SIZE, f"{where}: box of {noun!r}")
        if f" {noun} " in f" {caption} ":
            targets.append(GroundTruth(noun, tuple(box)))
    return LayoutPrompt(caption, tuple(targets))


def boxdiff_two_objects(prompts: list[LayoutPrompt], count: int, *, seed: int) -> list[LayoutPrompt]:
    """``count`` entries with exactly two objects, drawn without repetition; fewer where there are fewer.

    The paper evaluates 800 and does not name them.
    """
    pairs = [prompt for prompt in prompts if len(prompt.targets) == 2]
    if not pairs:
        raise ValueError("the box file has no entry with two named objects")
    order = np.random.default_rng(seed).permutation(len(pairs))[:count]
    return [pairs[i] for i in sorted(order.tolist())]
