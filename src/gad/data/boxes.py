"""Boxes of objects in an image, and their overlap."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

Side = float | int  # rendered boxes lie on whole pixels
Box = tuple[Side, Side, Side, Side]  # left, top, right, bottom in pixels


@dataclass(frozen=True)
class Detection:
    """One object that a detector sees; the score lies in [0, 1]. Some detectors give the mask ``[H, W]`` of it."""

    noun: str
    score: float
    box: Box
    colour: str
    mask: np.ndarray | None = field(default=None, compare=False, repr=False)


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, in [0, 1]."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
    return shared / max(areas - shared, 1e-6)


@dataclass(frozen=True)
class GroundTruth:
    """An object that an image should show, with its box in pixels."""

    noun: str
    box: Box


def best_box_overlap(found: Sequence[Detection], asked: Sequence[GroundTruth]) -> float:
    """Mean over the asked objects of the largest intersection over union with a detection of that noun, in [0, 1].

    Higher is better; an object that is not found counts 0.
    """
    return float(np.mean([max((box_iou(d.box, a.box) for d in found if d.noun == a.noun), default=0.0) for a in asked]))


def check_box_in_image(box: Box, image_size: int, where: str = "box") -> None:
    """Raise ValueError, in one line, for a box without area or (partly) outside a square image, in pixels."""
    left, top, right, bottom = box
    if not (left < right and top < bottom):
        raise ValueError(f"{where} {tuple(box)} has no area: left < right and top < bottom are needed")
    if left < 0 or top < 0 or right > image_size or bottom > image_size:
        raise ValueError(f"{where} {tuple(box)} leaves the image of {image_size}x{image_size} pixels")
