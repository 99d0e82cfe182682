r"""BoxDiff's energy (Xie et al. 2023): how far the objects' attention is from lying in their boxes.

.. math::
    E = \sum_o \max(0, 1 - \mathrm{top}_P(A_o M_o)) + \mathrm{top}_P(A_o (1 - M_o)) + C_x + C_y

A_o is an object's map, M_o its box as a mask, top_P the mean over the largest values, as many as the share P of the
region has cells. C compares the map's largest value in each column (row) with the box's extent, L cells to both sides
of its edges. All functions give a number per sample; 0 is best.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gad.data.boxes import Box, check_box_in_image
from gad.diffusion.shapes import PerSample
from gad.evaluation.control.layout.attention_maps import Map


def layout_box_mask(box: Box, image_size: int, side: int) -> Float[Tensor, "H W"]:
    """The box on the map's ``side`` x ``side`` cells: edges are rounded to whole cells, halves upwards so that a box
    has the same cells wherever it is; at least one cell is in it."""
    check_box_in_image(box, image_size)
    edges = [math.floor(edge * side / image_size + 0.5) for edge in box]
    mask = torch.zeros(side, side)
    left, top = (min(edge, side - 1) for edge in edges[:2])
    mask[top : max(edges[3], top + 1), left : max(edges[2], left + 1)] = 1
    return mask


def _top_mean(values: Map, region: Map, top_share: float) -> PerSample:
    """Mean over the largest values inside the region, as many as ``top_share`` of its cells, at least one."""
    count = (region.flatten(1).sum(1) * top_share + 1e-4).floor().clamp(min=1)  # .29 of 100 is 29, also when rounded
    ordered = (values * region).flatten(1).sort(1, descending=True).values
    taken = torch.arange(ordered.shape[1], device=values.device) < count[:, None]
    return (ordered * taken).sum(1) / count


def inner_box_energy(maps: Map, masks: Map, top_share: float) -> PerSample:
    """max(0, 1 - top_P(A M)), in [0, 1]: 0 when the object is looked for inside its box."""
    return (1 - _top_mean(maps, masks, top_share)).clamp(min=0)


def outer_box_energy(maps: Map, masks: Map, top_share: float) -> PerSample:
    """top_P(A (1 - M)), in [0, 1]: 0 when nothing outside the box looks for the object."""
    return _top_mean(maps, 1 - masks, top_share)


def _edge_distance(maps: Map, masks: Map, axis: int, corner_range: int) -> PerSample:
    """Mean over columns (axis 1) or rows (axis 2) of |max A - max M| near the two edges of the box, 0 elsewhere."""
    found, wanted = maps.amax(axis), masks.amax(axis)  # B N
    place = torch.arange(wanted.shape[1], device=maps.device)
    first = wanted.argmax(1, keepdim=True)
    after = wanted.shape[1] - wanted.flip(1).argmax(1, keepdim=True)
    near = ((place - first).abs() <= corner_range) | ((place - after).abs() <= corner_range)
    return ((found - wanted).abs() * near).mean(1)


def corner_energy(maps: Map, masks: Map, corner_range: int) -> PerSample:
    """C_x + C_y: 0 when the map begins and ends where the box does.

    A place outside the box, in one of its columns or rows, can fill that column's maximum as well: descent that starts
    there may end with it, the energy's one local minimum that we met.
    """
    rows, columns = (_edge_distance(maps, masks, axis, corner_range) for axis in (1, 2))
    return rows + columns


def layout_energy(
    maps: Float[Tensor, "B O H W"],
    masks: Float[Tensor, "B O H W"],
    present: Bool[Tensor, "B O"],
    *,
    top_share: float,
    corner_range: int,
) -> tuple[PerSample, PerSample]:
    """The energy of each sample, summed over its objects, and the largest inner-box term among them.

    ``present`` marks the objects that a sample has. The second number says when to stop.
    """
    flat, boxes = maps.flatten(0, 1), masks.flatten(0, 1)
    inner = inner_box_energy(flat, boxes, top_share)
    energy = inner + outer_box_energy(flat, boxes, top_share) + corner_energy(flat, boxes, corner_range)
    inner, energy = (value.view(present.shape) * present for value in (inner, energy))
    return energy.sum(1), inner.amax(1)
