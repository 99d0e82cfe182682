"""A centre-point detector of noun, colour, box and style, trained on scenes whose truth is known.

The network predicts on a 16x16 grid. The cell whose centre is nearest to an object's centre gives the noun, and also
the distances from the cell's centre to the four sides of the box, in pixels, and the colour. Style and background are
read once per image, from features pooled with learnt weights, so that the style comes from the objects.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from gad.data.boxes import Detection
from gad.data.emoji.detector_grid import GRID, Targets, decode_grid_boxes, detector_grid_peaks
from gad.data.emoji.scenes import BACKGROUNDS
from gad.data.emoji.sprites import COLOURS, NOUNS, STYLES
from gad.diffusion.shapes import Latent, PerSample
from gad.models.weights import load_weights_whole
from gad.runtime.files import read_tensors
from gad.runtime.paths import EMOJI

COLOUR_CLASSES = (*COLOURS, "natural")
BOX_SCALE = 16.0  # pixels per unit of the box head, so that its outputs are near one
WEIGHTS = {"noun": 1.0, "box": 1.0, "colour": 0.5, "style": 0.5, "background": 0.2}


@dataclass(frozen=True)
class Predictions:
    """Raw outputs: logits, and box sides in pixels from the cell's centre (left, top, right, bottom)."""

    noun: Float[Tensor, "B noun 16 16"]
    box: Float[Tensor, "B 4 16 16"]
    colour: Float[Tensor, "B colour 16 16"]
    style: Float[Tensor, "B style"]
    background: Float[Tensor, "B background"]


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Block(nn.Module):
    """Two convolutions with a skip."""

    def __init__(self, channels: int):
        super().__init__()
        self.convolutions = nn.Sequential(_conv(channels, channels), _conv(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.convolutions(x)


class Detector(nn.Module):
    """Images ``[B, 3, 64, 64]`` in [-1, 1] to an `Predictions`; a three-level pyramid of ``width`` to 2.5 ``width``."""

    def __init__(self, width: int = 48):
        super().__init__()
        self.width = width
        self.fine = nn.Sequential(_conv(3, width // 2, 5, 2), _conv(width // 2, width, 3, 2), Block(width))
        self.middle = nn.Sequential(_conv(width, 2 * width, 3, 2), Block(2 * width))
        self.coarse = nn.Sequential(_conv(2 * width, 5 * width // 2, 3, 2), Block(5 * width // 2))
        self.from_coarse = nn.Conv2d(5 * width // 2, 2 * width, 1)
        self.from_middle = nn.Conv2d(2 * width, width, 1)
        self.shared = nn.Sequential(_conv(width, width), _conv(width, 2 * width))
        self.cells = nn.Conv2d(2 * width, len(NOUNS) + 4 + len(COLOUR_CLASSES), 1)
        self.attention = nn.Conv2d(2 * width, 2, 1)  # where to look for the style, where for the background
        self.style = nn.Linear(2 * width, len(STYLES))
        self.background = nn.Linear(2 * width, len(BACKGROUNDS))
        assert self.cells.bias is not None
        nn.init.constant_(self.cells.bias[: len(NOUNS)], -4.0)  # few cells hold an object

    def forward(self, images: Latent) -> Predictions:
        fine = self.fine(images)  # B w 16 16
        middle = self.middle(fine)  # B 2w 8 8
        middle = middle + F.interpolate(self.from_coarse(self.coarse(middle)), scale_factor=2.0)
        features = self.shared(fine + F.interpolate(self.from_middle(middle), scale_factor=2.0))  # B 2w 16 16
        noun, box, colour = self.cells(features).float().split((len(NOUNS), 4, len(COLOUR_CLASSES)), dim=1)
        attention = self.attention(features).flatten(2).softmax(-1)  # B 2 256
        pooled = attention @ features.flatten(2).transpose(1, 2)  # B 2 2w
        style, background = self.style(pooled[:, 0]).float(), self.background(pooled[:, 1]).float()
        return Predictions(noun, BOX_SCALE * box, colour, style, background)


def detector_losses(predicted: Predictions, targets: Targets) -> dict[str, PerSample]:
    """Losses per sample, without weights: focal (nouns), absolute in units of 16 pixels (box), cross-entropies."""
    probability = predicted.noun.sigmoid().clamp(1e-4, 1 - 1e-4)
    found = -((1 - probability) ** 2) * probability.log() * (targets.heat == 1)
    quiet = -((1 - targets.heat) ** 4) * probability**2 * (1 - probability).log() * (targets.heat < 1)
    cells = targets.inside.flatten(1).sum(1).clamp(min=1)
    box = (predicted.box - targets.box).abs().mean(1) / BOX_SCALE
    colour = F.cross_entropy(predicted.colour, targets.colour, reduction="none")
    return {
        "noun": (found + quiet).flatten(1).sum(1) / targets.count,
        "box": (box * targets.inside).flatten(1).sum(1) / cells,
        "colour": (colour * targets.inside).flatten(1).sum(1) / cells,
        "style": F.cross_entropy(predicted.style, targets.style, reduction="none"),
        "background": F.cross_entropy(predicted.background, targets.background, reduction="none"),
    }


@torch.no_grad()
def detect_emojis(detector: Detector, images: Latent, *, threshold: float = 0.3) -> list[list[Detection]]:
    """Objects of each image, best score first."""
    predicted = detector(images)
    boxes = decode_grid_boxes(predicted.box)
    colours = predicted.colour.argmax(1)
    found = detector_grid_peaks(predicted.noun.sigmoid(), boxes, threshold=threshold)
    names = [COLOUR_CLASSES[int(colours[sample, row, column])] for sample, _, row, column, _ in found]
    result: list[list[Detection]] = [[] for _ in range(len(images))]
    for (sample, noun, row, column, score), colour in zip(found, names, strict=True):
        box = tuple(boxes[sample, :, row, column].tolist())
        result[sample].append(Detection(NOUNS[noun], score, box, colour))
    return result


@torch.no_grad()
def detect_emoji_style(detector: Detector, images: Latent) -> Int[Tensor, " B"]:
    """Index into ``STYLES`` of the art style, read by the image-level head."""
    return detector(images).style.argmax(1)


def save_emoji_detector(detector: Detector, folder: Path) -> None:
    """Write half-precision weights and a config; each file appears complete or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in detector.state_dict().items()}
    config = {"class": "Detector", "grid": GRID, "nouns": list(NOUNS), "styles": list(STYLES), "width": detector.width}
    save_file(state, folder / "model.tmp")
    os.replace(folder / "model.tmp", folder / "model.safetensors")
    (folder / "config.tmp").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(folder / "config.tmp", folder / "config.json")


def load_emoji_detector(folder: Path | None = None) -> Detector:
    """The saved detector in float32, frozen, in evaluation mode; that of all emoji recipes without a folder.

    Raises ValueError, in one line, where its weights are not whole or its words are not the atlas's.
    """
    folder = EMOJI / "evaluators" / "detector" if folder is None else folder
    if not (folder / "model.safetensors").is_file():
        raise FileNotFoundError(f"no detector in {folder}; run: dvc repro dataset")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if (config["nouns"], config["styles"]) != (list(NOUNS), list(STYLES)):
        raise ValueError(f"the detector in {folder} knows other nouns or styles than the sprite atlas")
    detector = Detector(config["width"])
    try:
        load_weights_whole(detector, read_tensors(folder / "model.safetensors"))
    except ValueError as error:
        raise ValueError(f"cannot load the detector in {folder}: {error}; or run: dvc repro dataset") from error
    return detector.float().eval().requires_grad_(False)


def best_emoji_detection(found: Sequence[Detection], noun: str) -> Detection | None:
    """The detection of a noun with the highest score; None where it is not seen."""
    return max((d for d in found if d.noun == noun), key=lambda d: d.score, default=None)
