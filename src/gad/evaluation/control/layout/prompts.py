"""Prompts with boxes, the targets of layout control. For emoji scenes they come from the scenes' own generator."""

from gad.config import Captions
from gad.config.layout import LayoutConfig
from gad.data.boxes import GroundTruth
from gad.data.emoji import seeds
from gad.data.emoji.caption_split import evaluation_split_captions
from gad.data.emoji.scenes import make_scene
from gad.evaluation.control.layout.boxdiff_file import FILE_SIZE, boxdiff_two_objects, read_boxdiff
from gad.evaluation.control.layout.layout_prompt import LayoutPrompt, scale_layout_prompt
from gad.runtime.paths import project_path


def emoji_layouts(count: int, first: int = 0, captions: Captions = "all") -> list[LayoutPrompt]:
    """Captions of two different objects, with the boxes of the scene that was drawn for them, from number ``first`` on.

    A box says place, size and, through its shape, the art style, none of which the caption names. A single object fills
    a quarter of the image and has little room to be moved in; that is left out, as in the paper's protocol.
    """
    found: list[LayoutPrompt] = []
    index = 0
    while len(found) < first + count:
        scene = make_scene(index, seed=seeds.LAYOUT, accept=evaluation_split_captions(captions))
        index += 1
        if len(scene.prompt.things) == 2:
            boxes = zip(scene.prompt.things, scene.boxes, strict=True)
            found.append(
                LayoutPrompt(scene.prompt.caption, tuple(GroundTruth(thing.noun, box) for thing, box in boxes))
            )
    return found[first:]


def layout_prompts(config: LayoutConfig, size: int = FILE_SIZE, captions: Captions = "all") -> list[LayoutPrompt]:
    """The prompts with their boxes in images of that size: of the dataset's ``captions``, or those of ``boxes_file``.

    Raises ValueError as :func:`gad.evaluation.control.layout.boxdiff_file.read_boxdiff`.
    """
    if config.boxes_file is None:
        return emoji_layouts(config.num_prompts, config.first_prompt, captions)
    held = read_boxdiff(project_path(config.boxes_file))
    entries = boxdiff_two_objects(held, config.num_prompts, seed=config.seed)
    return [scale_layout_prompt(entry, size / FILE_SIZE) for entry in entries]
