"""Whether an image shows what its prompt says, as a detector and an exact background reader see it."""

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from gad.data.boxes import Detection
from gad.data.emoji.detector import Detector, best_emoji_detection, detect_emojis
from gad.data.emoji.scenes import BACKGROUNDS, Prompt
from gad.diffusion.shapes import Latent, PerSample

TOLERANCE = 3.0  # pixels by which boxes may overlap and still stand beside each other
BORDER = 1  # pixels: the frame that scenes leave free of objects
NOT_NAMED = float("nan")


def background_accuracy(images: Latent, prompts: Sequence[Prompt]) -> PerSample:
    """1 where the palette's colour nearest to the median of the border pixels is the prompt's; no network reads it."""
    inside = torch.zeros(images.shape[-2:], dtype=torch.bool)
    inside[BORDER:-BORDER, BORDER:-BORDER] = True
    border = images[:, :, ~inside].float().median(dim=-1).values  # B 3
    palette = torch.tensor(list(BACKGROUNDS.values())) / 127.5 - 1
    seen = [list(BACKGROUNDS)[i] for i in torch.cdist(border, palette).argmin(1).tolist()]
    return torch.tensor([name == prompt.background for name, prompt in zip(seen, prompts, strict=True)]).float()


def object_accuracy(prompt: Prompt, found: Sequence[Detection]) -> float:
    """1 when each named noun is detected at least once."""
    return float(all(best_emoji_detection(found, thing.noun) for thing in prompt.things))


def count_accuracy(prompt: Prompt, found: Sequence[Detection]) -> float:
    """1 when exactly the named objects are detected, each as often as the prompt says."""
    return float(Counter(d.noun for d in found) == Counter(thing.noun for thing in prompt.objects))


def colour_accuracy(prompt: Prompt, found: Sequence[Detection]) -> float:
    """1 when every detection of each noun with a named colour has that colour, 0 also when one of them is missing.

    NaN when the prompt names no colour.
    """
    named = [thing for thing in prompt.things if thing.colour]
    if not named:
        return NOT_NAMED
    seen = [{d.colour for d in found if d.noun == thing.noun} for thing in named]
    return float(all(colours == {thing.colour} for colours, thing in zip(seen, named, strict=True)))


def colour_accuracy_when_found(prompt: Prompt, found: Sequence[Detection]) -> float:
    """As `colour_accuracy`, among the nouns that are detected; NaN when none of them is, or no colour is named."""
    things = tuple(thing for thing in prompt.things if thing.colour and best_emoji_detection(found, thing.noun))
    return colour_accuracy(Prompt(things, prompt.count, prompt.relation, prompt.background), found)


def relation_accuracy(prompt: Prompt, found: Sequence[Detection]) -> float:
    """1 when the first thing stands left of, or above, the second as named; 0 also when one is missing.

    NaN when the prompt names no place ("and", or a single noun).
    """
    if len(prompt.things) < 2 or prompt.relation == "and":
        return NOT_NAMED
    first, second = (best_emoji_detection(found, thing.noun) for thing in prompt.things)
    if first is None or second is None:
        return 0.0
    axis = 0 if prompt.relation == "left of" else 1
    return float(first.box[axis + 2] <= second.box[axis] + TOLERANCE)


def caption_accuracy(detector: Detector, images: Latent, prompts: Sequence[Prompt]) -> dict[str, PerSample]:
    """For each measure and sample 1 (right), 0 (wrong) or NaN (the prompt does not say); use ``nanmean``."""
    found = detect_emojis(detector, images)
    measures = (object_accuracy, count_accuracy, colour_accuracy, colour_accuracy_when_found, relation_accuracy)
    result: dict[str, Tensor] = {
        measure.__name__: torch.tensor([measure(p, d) for p, d in zip(prompts, found, strict=True)])
        for measure in measures
    }
    return result | {"background_accuracy": background_accuracy(images, prompts)}
