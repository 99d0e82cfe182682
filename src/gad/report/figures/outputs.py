"""Outputs of models: image grids and point clouds."""

import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from gad.report.figures.empty import left_out_if_empty
from gad.report.figures.style import DPI, PALETTE


def outputs_to_pixels(images: Tensor) -> np.ndarray:
    """``[B, 3, H, W]`` in [-1, 1] to ``[B, H, W, 3]`` uint8."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()


@left_out_if_empty
def image_grid(rows: dict[str, Tensor], *, captions: Sequence[str] = (), title: str = "") -> Figure:
    """A row of images per name, ``[B, 3, H, W]`` in [-1, 1] each, with captions over the columns."""
    names = list(rows)
    count = len(next(iter(rows.values())))
    figure, axes = plt.subplots(
        len(names), count, figsize=(1.35 * count + 1.5, 1.4 * len(names) + 0.7), squeeze=False, dpi=DPI
    )
    for axis_row, name in zip(axes, names, strict=True):
        for axis, pixels in zip(axis_row, outputs_to_pixels(rows[name]), strict=True):
            axis.imshow(pixels)
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
        axis_row[0].set_ylabel(name.replace("_", "\n"), rotation=0, ha="right", va="center", fontsize=13)
    for axis, caption in zip(axes[0], captions, strict=False):
        axis.set_title(textwrap.fill(caption, 16), fontsize=10)
    figure.suptitle(title)
    figure.tight_layout()
    return figure


@left_out_if_empty
def point_clouds(clouds: dict[str, Tensor], *, reference: Tensor, title: str = "") -> Figure:
    """Each model's outputs for the same noises, ``[N, 2]`` each, over the data points."""
    figure, axes = plt.subplots(1, len(clouds), figsize=(3.4 * len(clouds), 3.6), dpi=DPI, sharex=True, sharey=True)
    for axis, (name, points) in zip(np.atleast_1d(axes), clouds.items(), strict=True):
        axis.scatter(*reference.T, s=2, color="#cfcfcf", linewidths=0)
        axis.scatter(*points.T, s=6, color=PALETTE.get(name, "#2166ac"), linewidths=0)
        axis.set(title=name.replace("_", " "), aspect="equal", xlabel="$x_1$ (data units)", ylabel="$x_2$")
    figure.suptitle(title)
    figure.tight_layout()
    return figure


@left_out_if_empty
def output_grid(
    outputs: dict[str, Tensor], *, reference: Tensor | None = None, captions: Sequence[str] = (), title: str = ""
) -> Figure | None:
    """Each model's outputs for the same noises: an image grid, or point clouds for the Swiss roll."""
    if next(iter(outputs.values())).ndim == 4:
        return image_grid(outputs, captions=captions, title=title)
    assert reference is not None, "points are drawn over the data"
    return point_clouds(outputs, reference=reference, title=title)
