"""Boxes of objects in an image, and their overlap."""

from dataclasses import dataclass

Side = float | int  # rendered boxes lie on whole pixels
Box = tuple[Side, Side, Side, Side]  # left, top, right, bottom in pixels


@dataclass(frozen=True)
class Detection:
    """One object that a detector sees; the score lies in [0, 1]."""

    noun: str
    score: float
    box: Box
    colour: str


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, in [0, 1]."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
    return shared / max(areas - shared, 1e-6)
