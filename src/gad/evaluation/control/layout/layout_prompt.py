"""A prompt with the boxes where its objects should stand."""

from dataclasses import dataclass

from gad.data.boxes import Box, GroundTruth


@dataclass(frozen=True)
class LayoutPrompt:
    """A caption and where its objects should stand, in pixels of the image."""

    caption: str
    targets: tuple[GroundTruth, ...]


def scale_layout_prompt(prompt: LayoutPrompt, factor: float) -> LayoutPrompt:
    """The same prompt for an image ``factor`` times as large."""

    def larger(box: Box) -> Box:
        left, top, right, bottom = box
        return factor * left, factor * top, factor * right, factor * bottom

    return LayoutPrompt(prompt.caption, tuple(GroundTruth(thing.noun, larger(thing.box)) for thing in prompt.targets))
