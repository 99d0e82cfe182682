"""Boxes on the detector's grid: its targets for a scene, and how its output is decoded."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from gad.data.boxes import Box, box_iou
from gad.data.emoji.scenes import BACKGROUNDS, SIZE, Scene
from gad.data.emoji.sprites import COLOURS, NOUNS, STYLES
from gad.diffusion.shapes import PerSample

GRID = 16  # cells on a side
CELL = SIZE // GRID  # pixels on a side of a cell
LARGEST_OVERLAP = 0.4  # intersection over union of two retained detections; rendered objects never overlap


@dataclass(frozen=True)
class Targets:
    """The detector's targets. ``inside`` marks the cells whose box and colour are learnt."""

    heat: Float[Tensor, "B noun 16 16"]
    box: Float[Tensor, "B 4 16 16"]
    colour: Int[Tensor, "B 16 16"]
    inside: Bool[Tensor, "B 16 16"]
    style: Int[Tensor, " B"]
    background: Int[Tensor, " B"]
    count: PerSample


def grid_cell_centres() -> Float[Tensor, "4 16 16"]:
    """The centre (x, y, x, y) of each cell, in pixels."""
    y, x = torch.meshgrid(*[torch.arange(GRID) * CELL + CELL / 2] * 2, indexing="ij")
    return torch.stack([x, y, x, y])


def encode_grid_box(box: Box) -> Float[Tensor, "4 16 16"]:
    """Distances in pixels from each cell's centre to the four sides, positive inside the box."""
    sign = torch.tensor([-1.0, -1.0, 1.0, 1.0])[:, None, None]
    return sign * (torch.tensor(box, dtype=torch.float32)[:, None, None] - grid_cell_centres())


def decode_grid_boxes(distances: Float[Tensor, "B 4 16 16"]) -> Float[Tensor, "B 4 16 16"]:
    """The box (left, top, right, bottom) that each cell's distances mean, in pixels."""
    return grid_cell_centres() + torch.tensor([-1.0, -1.0, 1.0, 1.0])[:, None, None] * distances


def detector_grid_targets(scenes: Sequence[Scene]) -> Targets:
    """The detector's targets for rendered scenes."""
    count = len(scenes)
    heat, box = torch.zeros(count, len(NOUNS), GRID, GRID), torch.zeros(count, 4, GRID, GRID)
    colour, inside = torch.zeros(count, GRID, GRID, dtype=torch.long), torch.zeros(count, GRID, GRID, dtype=torch.bool)
    rows = columns = torch.arange(GRID)
    for i, scene in enumerate(scenes):
        for radius in (1, 0):  # neighbours first: the centre cell belongs to its own object
            for thing, sides in zip(scene.prompt.objects, scene.boxes, strict=True):
                column, row = int((sides[0] + sides[2]) / 2 // CELL), int((sides[1] + sides[3]) / 2 // CELL)
                y = slice(max(0, row - radius), row + radius + 1)
                x = slice(max(0, column - radius), column + radius + 1)
                box[i, :, y, x] = encode_grid_box(sides)[:, y, x]
                colour[i, y, x] = list(COLOURS).index(thing.colour) if thing.colour else len(COLOURS)
                inside[i, y, x] = True
                bump = torch.exp(-((rows[:, None] - row) ** 2 + (columns - column) ** 2) / 2)
                noun = NOUNS.index(thing.noun)
                heat[i, noun] = torch.maximum(heat[i, noun], bump)
    return Targets(
        heat,
        box,
        colour,
        inside,
        torch.tensor([STYLES.index(scene.style) for scene in scenes]),
        torch.tensor([list(BACKGROUNDS).index(scene.prompt.background) for scene in scenes]),
        torch.tensor([float(len(scene.boxes)) for scene in scenes]),
    )


def detector_grid_peaks(
    probability: Float[Tensor, "B noun 16 16"], boxes: Float[Tensor, "B 4 16 16"], *, threshold: float
) -> list:
    """Retained peaks (sample, noun, row, column, score), best first within a sample.

    A peak is the highest of its 3x3 cells over all nouns; of two that overlap, the better one stays.
    """
    score, noun = probability.max(1)  # B 16 16
    highest = F.max_pool2d(score, 3, stride=1, padding=1) == score
    kept: list[tuple] = []
    candidates = [tuple(place) for place in torch.nonzero(highest & (score > threshold)).tolist()]
    for sample, row, column in sorted(candidates, key=lambda c: (c[0], -score[c].item())):
        box = tuple(boxes[sample, :, row, column].tolist())
        rivals = [tuple(boxes[sample, :, r, c].tolist()) for s, _, r, c, _ in kept if s == sample]
        if all(box_iou(box, rival) <= LARGEST_OVERLAP for rival in rivals):
            kept.append((sample, int(noun[sample, row, column]), row, column, score[sample, row, column].item()))
    return kept
