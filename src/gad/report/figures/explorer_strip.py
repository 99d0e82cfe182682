"""A fast image for the explorer: drawn without a plot, so that it keeps up with a slider."""

import io

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from gad.report.figures.outputs import outputs_to_pixels

TILE = 192  # pixels on a side of a model's image
HEAD = 18  # pixels of the line with its name
GAP = 8  # pixels between models
REACH = 1.8  # data units from the middle to the edge of a 2-D tile


def _points(points: Tensor, reference: Tensor | None) -> Image.Image:
    tile = Image.new("RGB", (TILE, TILE), "white")
    draw = ImageDraw.Draw(tile)
    for cloud, colour, size in ((reference, "#d0d0d0", 1), (points, "#2166ac", 2)):
        for x, y in [] if cloud is None else cloud.tolist():
            column, row = TILE / 2 * (1 + x / REACH), TILE / 2 * (1 - y / REACH)
            draw.ellipse((column - size, row - size, column + size, row + size), fill=colour)
    return tile


def explorer_strip_png(outputs: dict[str, Tensor], *, reference: Tensor | None = None) -> bytes:
    """A PNG with every model's first image (``[B, 3, H, W]`` in [-1, 1]) or all its points (``[B, 2]``) in a row."""
    width = len(outputs) * (TILE + GAP) - GAP
    strip = Image.new("RGB", (width, HEAD + TILE), "white")
    draw = ImageDraw.Draw(strip)
    for place, (name, made) in enumerate(outputs.items()):
        left = place * (TILE + GAP)
        if made.ndim == 2:
            tile = _points(made, reference)
        else:
            tile = Image.fromarray(np.asarray(outputs_to_pixels(made[:1])[0])).resize(
                (TILE, TILE), Image.Resampling.BICUBIC
            )
        strip.paste(tile, (left, HEAD))
        draw.text((left + 2, 1), name.replace("_", " "), fill="black", font_size=13)
    file = io.BytesIO()
    strip.save(file, "PNG")
    return file.getvalue()
