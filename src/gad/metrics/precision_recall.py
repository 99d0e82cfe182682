"""Precision, recall, density and coverage of a set of images: what a Fréchet distance alone cannot separate.

Around each image of a set lies a ball that reaches to its k-th nearest neighbour in that set. Precision and recall:
Kynkäänniemi et al. 2019; density and coverage: Naeem et al. 2020. Few images make wide balls: compare sets of equal
size and equal k only.
"""

import torch
from torch import Tensor

from gad.metrics.image_features import Set


def _radii(features: Tensor, neighbours: int) -> Tensor:
    """Distance of each row to its k-th nearest other row, ``[N]``."""
    return torch.cdist(features, features).kthvalue(neighbours + 1, dim=1).values  # the nearest is the row itself


def precision_recall_density_coverage(images: Set, reference: Set, *, neighbours: int = 5) -> dict[str, float]:
    r"""``precision``, ``recall``, ``density`` and ``coverage`` of ``images`` against ``reference``; higher is better.

    With :math:`B(x)` the ball of a row x in its own set:

    - precision: share of images inside some ball of the reference, in [0, 1]
    - recall: share of the reference inside some ball of the images, in [0, 1]
    - density: how many reference balls hold an image, over k; 1 on average when both sets are alike, no upper bound
    - coverage: share of the reference's balls that hold an image, in [0, 1]

    Raises ValueError when a set has no more than k images, or holds NaN.
    """
    images, reference = images.double(), reference.double()
    fewest = min(len(images), len(reference))
    if fewest <= neighbours:
        raise ValueError(f"{neighbours} neighbours need sets of more than {neighbours} images, got {fewest}")
    if not (images.isfinite().all() and reference.isfinite().all()):
        raise ValueError("features are not finite; look for NaN images")
    distance = torch.cdist(reference, images)  # N M
    in_reference = distance <= _radii(reference, neighbours)[:, None]
    in_images = distance <= _radii(images, neighbours)[None]
    return {
        "precision": in_reference.any(0).double().mean().item(),
        "recall": in_images.any(1).double().mean().item(),
        "density": in_reference.double().sum().item() / (neighbours * len(images)),
        "coverage": in_reference.any(1).double().mean().item(),
    }
