"""Prompts with boxes, the targets of layout control. For emoji scenes they come from the scenes' own generator."""

from dataclasses import dataclass

from gad.config import Captions
from gad.data.boxes import Box, GroundTruth
from gad.data.emoji import seeds
from gad.data.emoji.held_out import evaluation_captions
from gad.data.emoji.scenes import make_scene


@dataclass(frozen=True)
class LayoutPrompt:
    """A caption and where its objects should stand, in pixels of the image."""

    caption: str
    targets: tuple[GroundTruth, ...]


def emoji_layouts(count: int, first: int = 0, captions: Captions = "all") -> list[LayoutPrompt]:
    """Captions of two different objects, with the boxes of the scene that was drawn for them, from number ``first`` on.

    A box says place, size and, through its shape, the art style, none of which the caption names. A single object fills
    a quarter of the image and has little room to be moved in; that is left out, as in the paper's protocol.
    """
    found: list[LayoutPrompt] = []
    index = 0
    while len(found) < first + count:
        scene = make_scene(index, seed=seeds.LAYOUT, accept=evaluation_captions(captions))
        index += 1
        if len(scene.prompt.things) == 2:
            boxes = zip(scene.prompt.things, scene.boxes, strict=True)
            found.append(
                LayoutPrompt(scene.prompt.caption, tuple(GroundTruth(thing.noun, box) for thing, box in boxes))
            )
    return found[first:]


def scale_layout_prompt(prompt: LayoutPrompt, factor: float) -> LayoutPrompt:
    """The same prompt for an image ``factor`` times as large."""

    def larger(box: Box) -> Box:
        left, top, right, bottom = box
        return factor * left, factor * top, factor * right, factor * bottom

    return LayoutPrompt(prompt.caption, tuple(GroundTruth(thing.noun, larger(thing.box)) for thing in prompt.targets))
