"""A Mask2Former of transformers as a detector: objects with masks, as GenEval's own numbers are made with."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gad.data.boxes import Box, Detection
from gad.metrics.object_detector import LONG_SIDE, prepare_detector_pixels

if TYPE_CHECKING:  # at run time it is imported where it is needed: it takes a while
    from transformers import PreTrainedModel

MOST = 100  # instances of an image


@dataclass(frozen=True)
class InstanceDetector:
    """A Mask2Former for instances behind the signature of :class:`gad.metrics.object_detector.HubDetector`; boxes are
    those of masks.

    The score of query q as class c is softmax(logits_q)_c times the mean of sigmoid(mask_q) where mask_q > 0 (Cheng et
    al. 2022, arXiv:2112.01527): how sure its class and its mask are.
    """

    network: "PreTrainedModel"
    size: int = LONG_SIDE  # pixels on a side that the network sees
    threshold: float = 0.05  # lowest score of a detection
    batch_size: int = 2
    masks: bool = True  # kept with the detections

    @torch.no_grad()
    def __call__(self, images: Tensor) -> list[list[Detection]]:
        """Objects of each square image ``[B, 3, H, W]`` in [-1, 1], best score first, with masks ``[H, W]``."""
        return [seen for part in images.split(self.batch_size) for seen in self._detect(part)]

    def _detect(self, images: Tensor) -> list[list[Detection]]:
        device = next(self.network.parameters()).device
        answer = self.network(pixel_values=prepare_detector_pixels(images.float(), self.size).to(device))
        classes = answer.class_queries_logits.float().softmax(-1)[..., :-1]  # the last class is "nothing"
        return [
            self._detections(scores, F.interpolate(masks[None].float(), images.shape[-2:], mode="bilinear")[0])
            for scores, masks in zip(classes, answer.masks_queries_logits, strict=True)
        ]

    def _detections(self, classes: Tensor, masks: Tensor) -> list[Detection]:
        """Those of one image: scores ``[Q, classes]`` and mask logits ``[Q, H, W]``."""
        names, inside = self.network.config.id2label, masks > 0
        sure = (masks.sigmoid() * inside).flatten(1).sum(1) / inside.flatten(1).sum(1).clamp(min=1)
        best = classes.flatten().topk(min(MOST, classes.numel())).indices
        scores = (classes * sure[:, None]).flatten()[best].cpu()
        found = []
        for place in scores.argsort(descending=True).tolist():
            query, label = divmod(int(best[place]), classes.shape[1])
            if scores[place] > self.threshold:
                mask = inside[query].cpu().numpy()
                kept = mask if self.masks else None
                found.append(Detection(names[label], float(scores[place]), mask_box(mask), "", kept))
        return found


def mask_box(mask: np.ndarray) -> Box:
    """The smallest box around the true pixels of a mask ``[H, W]``, of which there are some."""
    down, across = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return int(across[0]), int(down[0]), int(across[-1]) + 1, int(down[-1]) + 1
