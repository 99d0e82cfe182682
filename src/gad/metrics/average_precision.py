"""Average precision by the COCO protocol: are the asked objects found at their boxes?"""

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import numpy as np

from gad.data.boxes import Box, Detection, GroundTruth

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from pycocotools.coco import COCO


def _sides(box: Box) -> list[float]:
    """Left, top, width and height, as COCO writes a box."""
    left, top, right, bottom = map(float, box)
    return [left, top, right - left, bottom - top]


def _coco(asked: Sequence[Sequence[GroundTruth]], number: dict[str, int]) -> "COCO":
    from pycocotools.coco import COCO  # here, since it takes seconds

    annotations: list[dict[str, Any]] = [
        {"image_id": image, "category_id": number[thing.noun], "bbox": _sides(thing.box), "iscrowd": 0}
        for image, things in enumerate(asked, start=1)
        for thing in things
    ]
    for index, annotation in enumerate(annotations, start=1):  # COCO takes a match with id 0 for none
        annotation |= {"id": index, "area": annotation["bbox"][2] * annotation["bbox"][3]}
    truth = COCO()
    truth.dataset = {
        "images": [{"id": image} for image in range(1, len(asked) + 1)],
        "annotations": annotations,
        "categories": [{"id": index, "name": noun} for noun, index in number.items()],
    }
    truth.createIndex()
    return truth


def average_precision(found: Sequence[Sequence[Detection]], asked: Sequence[Sequence[GroundTruth]]) -> dict[str, float]:
    """``ap`` (mean over overlaps .5, .55, ... .95) and ``ap50`` (overlap .5), in [0, 1], higher is better.

    COCO's protocol (pycocotools): a precision-recall curve per noun over all images, 101 points of recall, at most 100
    detections an image, mean over the nouns that are asked for anywhere. Detections of other nouns do not count. Raises
    ValueError when nothing is asked for or the two lists differ in length.
    """
    from pycocotools.cocoeval import COCOeval  # here, since it takes seconds

    if len(found) != len(asked):
        raise ValueError(f"detections of {len(found)} images cannot be compared with the boxes of {len(asked)}")
    nouns = sorted({thing.noun for things in asked for thing in things})
    if not nouns:
        raise ValueError("average precision needs at least one box that is asked for")
    number = {noun: index for index, noun in enumerate(nouns, start=1)}
    results = [
        {"image_id": image, "category_id": number[seen.noun], "bbox": _sides(seen.box), "score": float(seen.score)}
        for image, detections in enumerate(found, start=1)
        for seen in detections
        if seen.noun in number
    ]
    if not results:
        return {"ap": 0.0, "ap50": 0.0}
    with redirect_stdout(io.StringIO()):  # pycocotools prints
        truth = _coco(asked, number)
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # overlaps, recalls, nouns; all sizes, 100 detections
    return {"ap": _mean(precision), "ap50": _mean(precision[:1])}


def _mean(precision: np.ndarray) -> float:
    return float(precision[precision > -1].mean())
