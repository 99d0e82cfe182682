"""Captioned emoji scenes, 64x64: real artwork whose layout, colours and style are known exactly.

A caption names noun, count, colour, relation and background. It leaves out the art style, the exact places and the
sizes, so p(image | caption) has many modes that can be counted. Scene ``i`` is the same on every machine: all its
choices come from a counter-based generator keyed by ``(seed, i)``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gad.data.emoji.sprites import COLOURS, NOUNS, STYLES, TINTED, resized_sprite, sprite_size

SIZE = 64  # pixels on a side
BACKGROUNDS = {
    "white": (244, 244, 244),
    "gray": (140, 140, 140),
    "black": (28, 28, 28),
    "pink": (250, 186, 204),
    "cyan": (150, 218, 232),
    "brown": (150, 108, 76),
}
RELATIONS = ("and", "left of", "above")
COUNTS = {1: "a", 2: "two", 3: "three"}
GRID = 8  # pixels between the places that a sprite can take
EDGE = 4  # pixels from the border to the first place
GRID_SIDES = {1: (32, 40), 2: (24,), 3: (20,)}  # sprite sides in pixels, by the number of objects
FREE_SIDES = {1: (28, 44), 2: (20, 30), 3: (16, 22)}  # smallest and largest side of a freely placed sprite
MARGIN = 1  # pixels left free at the border

Layout = Literal["grid", "free"]
Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels


@dataclass(frozen=True)
class Thing:
    """What a caption says of one object: its noun and, for nouns of a single hue, its colour."""

    noun: str
    colour: str | None

    def __str__(self) -> str:
        return f"{self.colour} {self.noun}" if self.colour else self.noun


@dataclass(frozen=True)
class Prompt:
    """What a caption fixes. One thing with a count of 1-3, or two different things with a relation."""

    things: tuple[Thing, ...]
    count: int
    relation: str
    background: str

    @property
    def caption(self) -> str:
        if len(self.things) == 2:
            text = f"a {self.things[0]} {self.relation} a {self.things[1]}"
        else:
            text = f"{COUNTS[self.count]} {self.things[0]}" + ("s" if self.count > 1 else "")
        return f"{text} on a {self.background} background"

    @property
    def objects(self) -> tuple[Thing, ...]:
        """Every object that the image shows, in the caption's order."""
        return self.things if len(self.things) == 2 else self.things * self.count


Accept = Callable[[Prompt], bool]  # which prompts are drawn; all of them without one


@dataclass(frozen=True)
class Scene:
    """A prompt with what it leaves open: one art style, and a box per object."""

    prompt: Prompt
    style: str
    boxes: tuple[Box, ...]


def _generator(seed: int, index: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, index]))


def _thing(rng: np.random.Generator, exclude: str = "") -> Thing:
    noun = str(rng.choice([n for n in NOUNS if n != exclude]))
    return Thing(noun, str(rng.choice(list(COLOURS))) if noun in TINTED else None)


def _draw_prompt(rng: np.random.Generator) -> Prompt:
    """A random prompt: half show one object, a third two different ones, the rest two or three alike."""
    background = str(rng.choice(list(BACKGROUNDS)))
    first = _thing(rng)
    kind = rng.random()
    if kind < 1 / 2:
        return Prompt((first,), 1, "and", background)
    if kind < 5 / 6:
        return Prompt((first, _thing(rng, first.noun)), 2, str(rng.choice(RELATIONS)), background)
    return Prompt((first,), int(rng.integers(2, 4)), "and", background)


def _apart(a: Box, b: Box) -> bool:
    """True when two boxes do not touch."""
    return a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def _related(boxes: Sequence[Box], relation: str) -> bool:
    """True when the first box stands to the second as the relation says."""
    if len(boxes) != 2 or relation == "and":
        return True
    (left, top, right, bottom), (left2, top2, _, _) = boxes
    return right <= left2 if relation == "left of" else bottom <= top2


def _grid_box(thing: Thing, style: str, count: int, rng: np.random.Generator) -> Box:
    """A box in the middle of a square that starts at a place of the grid."""
    side = int(rng.choice(GRID_SIDES[count]))
    width, height = sprite_size(thing.noun, style, side)
    left, top = EDGE + GRID * rng.integers(0, (SIZE - 2 * EDGE - side) // GRID + 1, size=2)
    left, top = int(left) + (side - width) // 2, int(top) + (side - height) // 2
    return left, top, left + width, top + height


def _free_box(thing: Thing, style: str, count: int, rng: np.random.Generator) -> Box:
    """A box of any size and at any pixel."""
    low, high = FREE_SIDES[count]
    width, height = sprite_size(thing.noun, style, int(rng.integers(low, high + 1)))
    left = int(rng.integers(MARGIN, SIZE - MARGIN - width + 1))
    top = int(rng.integers(MARGIN, SIZE - MARGIN - height + 1))
    return left, top, left + width, top + height


def _place(prompt: Prompt, rng: np.random.Generator, layout: Layout = "grid") -> Scene:
    """A random scene that the prompt's caption describes: style, sizes and places are drawn until nothing overlaps."""
    style = str(rng.choice(STYLES))
    draw_box = _grid_box if layout == "grid" else _free_box
    while True:
        boxes = tuple(draw_box(thing, style, len(prompt.objects), rng) for thing in prompt.objects)
        apart = all(_apart(a, b) for i, a in enumerate(boxes) for b in boxes[:i])
        if apart and _related(boxes, prompt.relation):
            return Scene(prompt, style, boxes)


def _draw_accepted_prompt(rng: np.random.Generator, accept: Accept | None) -> Prompt:
    """The first random prompt that ``accept`` lets pass."""
    prompt = _draw_prompt(rng)
    while accept is not None and not accept(prompt):
        prompt = _draw_prompt(rng)
    return prompt


def make_scene_prompt(index: int, *, seed: int = 0, accept: Accept | None = None) -> Prompt:
    """Prompt number ``index`` of those that ``accept`` lets pass; scene ``index`` of the same seed shows it."""
    return _draw_accepted_prompt(_generator(seed, index), accept)


def make_scene(index: int, *, seed: int = 0, layout: Layout = "grid", accept: Accept | None = None) -> Scene:
    """Scene number ``index`` of the prompts that ``accept`` lets pass, the same on every machine.

    Teachers learn scenes on the grid, where the places that a caption leaves open can be counted. The autoencoder and
    the evaluators learn free ones, so that they also read images without a grid.
    """
    rng = _generator(seed, index)
    return _place(_draw_accepted_prompt(rng, accept), rng, layout)


def render_scene(scene: Scene) -> np.ndarray:
    """The scene as an image, ``[64, 64, 3]`` uint8."""
    canvas = Image.new("RGB", (SIZE, SIZE), BACKGROUNDS[scene.prompt.background])
    for thing, (left, top, right, bottom) in zip(scene.prompt.objects, scene.boxes, strict=True):
        image = resized_sprite(thing.noun, scene.style, thing.colour, (right - left, bottom - top))
        canvas.paste(image, (left, top), image)
    return np.asarray(canvas)


def render_scenes(scenes: list[Scene]) -> Tensor:
    """Rendered scenes, ``[B, 3, 64, 64]`` in [-1, 1]."""
    images = np.stack([render_scene(scene) for scene in scenes])
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
