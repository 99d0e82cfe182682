"""Sprites: the artwork of a noun in a style, in a colour where it is tinted."""

import json
from functools import cache

import numpy as np
from PIL import Image

from gad.runtime.paths import SPRITES

COLOURS = {"red": 0, "yellow": 50, "green": 125, "blue": 220, "purple": 285}  # hue in degrees


def _names() -> dict:
    return json.loads((SPRITES / "atlas.json").read_text(encoding="utf-8"))


STYLES = tuple(_names()["styles"])
TINTED = tuple(_names()["tinted"])
NATURAL = tuple(_names()["natural"])
NOUNS = TINTED + NATURAL


@cache
def _atlas() -> tuple[Image.Image, int]:
    return Image.open(SPRITES / "atlas.png").convert("RGBA"), _names()["cell"]


@cache
def _sprite(noun: str, style: str, colour: str | None = None) -> Image.Image:
    """The tight RGBA sprite of a noun in a style; with a colour, its saturated pixels take that hue."""
    atlas, cell = _atlas()
    left, top = NOUNS.index(noun) * cell, STYLES.index(style) * cell
    image = atlas.crop((left, top, left + cell, top + cell))
    image = image.crop(image.getbbox())
    if colour is None:
        return image
    hue, saturation, value = (np.asarray(c) for c in image.convert("RGB").convert("HSV").split())
    tinted = saturation > 50
    new = [
        np.where(tinted, round(COLOURS[colour] / 360 * 255), hue),
        np.where(tinted, np.maximum(saturation, 170), saturation),
        np.where(tinted, np.maximum(value, 150 if colour != "yellow" else 215), value),
    ]
    rgb = Image.merge("HSV", [Image.fromarray(c.astype(np.uint8)) for c in new]).convert("RGB")
    rgb.putalpha(image.getchannel("A"))
    return rgb


def sprite_size(noun: str, style: str, side: int) -> tuple[int, int]:
    """Width and height in pixels of a sprite whose longer side is ``side``."""
    width, height = _sprite(noun, style).size
    scale = side / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


@cache
def resized_sprite(noun: str, style: str, colour: str | None, size: tuple[int, int]) -> Image.Image:
    """The sprite in that width and height."""
    return _sprite(noun, style, colour).resize(size, Image.Resampling.LANCZOS)
