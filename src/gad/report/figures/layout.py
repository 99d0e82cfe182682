"""Images with their target boxes."""

import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from gad.report.figures.empty import left_out_if_empty
from gad.report.figures.outputs import outputs_to_pixels
from gad.report.figures.style import DPI

BOX_COLOURS = ("#e41a1c", "#377eb8", "#ff7f00")  # of the first, second and third object


@left_out_if_empty
def layout_grid(
    rows: dict[str, Tensor], boxes: Sequence[Sequence], nouns: Sequence[Sequence[str]], *, title: str = ""
) -> Figure:
    """Images ``[B, 3, H, W]`` in [-1, 1], a row a name, with the target boxes (left, top, right, bottom in pixels).

    Columns are prompts; the nouns over them have the colour of their box.
    """
    names, count = list(rows), len(boxes)
    figure, axes = plt.subplots(
        len(names), count, figsize=(1.35 * count + 1.5, 1.4 * len(names) + 0.8), squeeze=False, dpi=DPI
    )
    for axis_row, name in zip(axes, names, strict=True):
        for axis, pixels, asked in zip(axis_row, outputs_to_pixels(rows[name][:count]), boxes, strict=True):
            axis.imshow(pixels)
            for (left, top, right, bottom), colour in zip(asked, BOX_COLOURS, strict=False):
                size = (right - left, bottom - top)
                axis.add_patch(Rectangle((left - 0.5, top - 0.5), *size, fill=False, edgecolor="white", linewidth=2.6))
                axis.add_patch(Rectangle((left - 0.5, top - 0.5), *size, fill=False, edgecolor=colour, linewidth=1.6))
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
        axis_row[0].set_ylabel(
            textwrap.fill(name.replace("_", " "), 14), rotation=0, ha="right", va="center", fontsize=12
        )
    for axis, things in zip(axes[0], nouns, strict=True):
        for place, (noun, colour) in enumerate(zip(things, BOX_COLOURS, strict=False)):
            height = 1.04 + 0.16 * (len(things) - 1 - place)
            axis.text(0.5, height, noun, color=colour, fontsize=11, ha="center", transform=axis.transAxes)
    figure.suptitle(title)
    figure.tight_layout()
    return figure
