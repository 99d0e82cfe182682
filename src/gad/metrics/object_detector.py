"""Any object detector of transformers behind the signature of the emoji dataset's: images in, detections out."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from gad.data.boxes import Detection

if TYPE_CHECKING:  # at run time they are imported where they are needed: it takes a while
    from transformers import PreTrainedModel

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as DETR and YOLOS were trained with
LONG_SIDE = 800  # pixels: square images are enlarged to this before detection


@dataclass(frozen=True)
class HubDetector:
    """A network of the DETR kind: logits ``[B, Q, classes]`` and boxes (centre, size) in shares of the image.

    Its pixels are prepared here; transformers' own image processors want torchvision.
    """

    network: "PreTrainedModel"
    size: int = LONG_SIDE  # pixels on a side that the network sees
    threshold: float = 0.05  # lowest score of a detection
    batch_size: int = 8

    @torch.no_grad()
    def __call__(self, images: Tensor) -> list[list[Detection]]:
        """Objects of each square image ``[B, 3, H, W]`` in [-1, 1], best score first, boxes in its own pixels."""
        return [seen for part in images.split(self.batch_size) for seen in self._detect(part)]

    def _detect(self, images: Tensor) -> list[list[Detection]]:
        device = next(self.network.parameters()).device
        answer = self.network(pixel_values=prepare_detector_pixels(images.float(), self.size).to(device))
        scores, labels = detector_class_scores(answer.logits.float().cpu(), len(self.network.config.id2label)).max(-1)
        centre, extent = answer.pred_boxes.float().cpu().clamp(0, 1).split(2, dim=-1)
        corners = torch.cat([centre - extent / 2, centre + extent / 2], dim=-1).clamp(0, 1) * images.shape[-1]
        names = self.network.config.id2label
        found = []
        for row, numbers, boxes in zip(scores, labels, corners, strict=True):
            order = [i for i in row.argsort(descending=True).tolist() if row[i] > self.threshold]
            found.append(
                [Detection(names[int(numbers[i])], float(row[i]), tuple(boxes[i].tolist()), "") for i in order]
            )
        return found


def prepare_detector_pixels(images: Tensor, size: int) -> Tensor:
    """Images in [-1, 1] as the networks were trained to see them: ``size`` pixels a side, ImageNet's mean and std."""
    shares = F.interpolate((images + 1) / 2, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (shares - mean.to(images)) / std.to(images)


def detector_class_scores(logits: Tensor, num_labels: int) -> Tensor:
    """Scores in [0, 1] per label. A further class means "nothing" under a softmax (DETR, YOLOS); else sigmoids."""
    if logits.shape[-1] == num_labels + 1:
        return logits.softmax(-1)[..., :-1]
    return logits.sigmoid()
