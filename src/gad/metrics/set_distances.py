"""How far apart two sets of images are, in named features: Fréchet distance, kernel distance, and manifold measures.

The paper's FID (Table 12) reads Inception features of many thousand images. No package here brings that network, so
every number names its features. A Fréchet distance of n images is too large by about 1/n; the kernel
distance has no such bias, and stands beside it. Where both sets are made of the same noises and prompts a Fréchet
distance also falls as images agree one by one; a copy has 0.
"""

import numpy as np
import torch

from gad.metrics.image_features import Set, project_features
from gad.metrics.precision_recall import precision_recall_density_coverage

IMAGES_PER_AXIS = 2  # below, the covariance's own noise is as large as its differences


def _minimum_images(axes: int) -> int:
    """How many images each set needs for a Fréchet distance on so many axes."""
    return IMAGES_PER_AXIS * axes


def kernel_distance(a: Set, b: Set) -> float:
    r"""Unbiased squared MMD with the cubic kernel (KID, Bińkowski et al. 2018); lower is better, may fall below 0.

    .. math::
        k(x, y) = (x \cdot y / d + 1)^3, \qquad
        \frac{\sum_{i \ne j} k(a_i, a_j)}{n(n-1)} + \frac{\sum_{i \ne j} k(b_i, b_j)}{m(m-1)}
        - \frac{2 \sum_{ij} k(a_i, b_j)}{nm}

    Sets of one size may belong together row by row, made of the same noises and prompts; there the third sum leaves out
    i = j as well, or a model would seem nearer to its teacher for agreeing noise by noise.

    Raises ValueError for a set of fewer than two images.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"a kernel distance needs at least 2 images in each set, got {len(a)} and {len(b)}")
    a, b = a.double(), b.double()

    def kernel(x: Set, y: Set) -> torch.Tensor:
        return (x @ y.T / x.shape[1] + 1).pow(3)

    def within(x: Set) -> torch.Tensor:
        values = kernel(x, x)
        return (values.sum() - values.trace()) / (len(x) * (len(x) - 1))

    between = kernel(a, b)
    mean = (between.sum() - between.trace()) / (len(a) * (len(a) - 1)) if len(a) == len(b) else between.mean()
    return (within(a) + within(b) - 2 * mean).item()


def set_distances(images: Set, reference: Set, *, axes: int, neighbours: int) -> dict[str, float]:
    """Every measure of ``images`` against ``reference``, features ``[N, D]`` and ``[M, D]``.

    ``frechet`` (on the reference's leading ``axes`` principal axes, float64), ``kernel``, ``precision``, ``recall``,
    ``density``, ``coverage``, and ``n``, the size of the smaller set. Axes are the reference's own, so models that are
    compared are seen on the same ones. Raises ValueError, in one line, for too few images or features with NaN.
    """
    fewest = min(len(images), len(reference))
    if fewest < _minimum_images(axes):
        raise ValueError(
            f"a Fréchet distance on {axes} axes needs at least {_minimum_images(axes)} images in each set,"
            f" got {fewest}; make more images or use fewer axes"
        )
    if not (images.isfinite().all() and reference.isfinite().all()):
        raise ValueError("features are not finite; look for NaN images")
    theirs, ours = project_features(reference, images, dimensions=axes)
    manifold = precision_recall_density_coverage(images, reference, neighbours=neighbours)
    distances = {"frechet": frechet_distance(ours, theirs), "kernel": kernel_distance(images, reference)}
    return distances | manifold | {"n": float(fewest)}


def frechet_distance(a: Set, b: Set) -> float:
    r"""Fréchet distance of Gaussians fitted to two sets (lower is better).

    .. math:: \|\mu_a - \mu_b\|^2 + \mathrm{tr}\big(\Sigma_a + \Sigma_b - 2\,(\Sigma_a\Sigma_b)^{1/2}\big)

    Each set needs more images than features have dimensions, or its covariance is singular: 1281 for whole EffLite0
    features; `project_features` to fewer dimensions otherwise, and name them beside the number.
    """
    fewest = min(len(a), len(b))
    if fewest <= a.shape[1]:
        raise ValueError(f"a Fréchet distance in {a.shape[1]} dimensions needs more images than that, got {fewest}")
    (mean_a, cov_a), (mean_b, cov_b) = (
        (s.mean(0), np.cov(s, rowvar=False)) for s in (a.double().numpy(), b.double().numpy())
    )
    values, vectors = np.linalg.eigh(np.atleast_2d(cov_a))
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T  # symmetric, so that the product below has real eigenvalues
    shared = np.sqrt(np.linalg.eigvalsh(root @ np.atleast_2d(cov_b) @ root).clip(0)).sum()
    distance = np.square(mean_a - mean_b).sum() + np.trace(np.atleast_2d(cov_a)) + np.trace(np.atleast_2d(cov_b))
    return float(max(0.0, distance - 2 * shared))
