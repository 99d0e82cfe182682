"""The colour of a detected object: the one of ten whose captions are nearest to its crop, for a CLIP."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gad.data.boxes import Box, Detection
from gad.evaluation.control.composition.geneval_file import COLOURS
from gad.metrics.clip_encoder import Encoder

GREY = 2 * 0x99 / 255 - 1  # GenEval's #999999, in [-1, 1]
TEMPLATES = ("a photo of a {colour} {noun}", "a photo of a {colour}-colored {noun}", "a photo of a {colour} object")


@dataclass(frozen=True)
class ColourReader:
    """Zero-shot classification of crops; a colour's feature is the mean over three captions, as in GenEval.

    What surrounds the object is greyed first where the detector gives a mask, as in GenEval.
    """

    encoder: Encoder
    features: dict[str, Tensor] = field(default_factory=dict)  # of a noun's colours, [10, D], made once

    @torch.no_grad()
    def __call__(self, image: Tensor, found: Sequence[Detection]) -> list[str]:
        """The colour of each object in an image ``[3, H, W]``; all are of one noun."""
        if not found:
            return []
        crops = torch.cat([self.encoder.images(crop_box(on_grey(image, each.mask), each.box)) for each in found])
        return [COLOURS[i] for i in (crops @ self._features_of(found[0].noun).T).argmax(1).tolist()]

    def _features_of(self, noun: str) -> Tensor:
        if noun not in self.features:
            captions = [form.format(colour=colour, noun=noun) for colour in COLOURS for form in TEMPLATES]
            texts = self.encoder.texts(captions).unflatten(0, (len(COLOURS), len(TEMPLATES)))
            self.features[noun] = F.normalize(texts.mean(1), dim=1)
        return self.features[noun]


def on_grey(image: Tensor, mask: np.ndarray | None) -> Tensor:
    """The pixels of an image ``[3, H, W]`` in the mask ``[H, W]``, on grey; the image itself for None."""
    return image if mask is None else torch.where(torch.from_numpy(mask).to(image.device), image, GREY)


def crop_box(image: Tensor, box: Box) -> Tensor:
    """The part of an image ``[3, H, W]`` in a box, as a batch of one, at least a pixel on a side."""
    left, top = (min(int(place), size - 1) for place, size in zip(box[:2], reversed(image.shape[1:]), strict=True))
    right, bottom = max(left + 1, round(box[2])), max(top + 1, round(box[3]))
    return image[None, :, top:bottom, left:right]
