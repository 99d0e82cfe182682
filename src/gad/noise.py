"""Noise, directions and the steps along them; every sample has its own generator, so batches do not matter.

Noise is drawn on the CPU in float32 whatever the device.
"""

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gad.shapes import Latent

Direction = Literal["isotropic", "low_frequency"]
Step = Literal["straight", "spherical"]


def _normal(shape: tuple[int, ...], *key: int) -> Tensor:
    """Standard normal numbers that depend on the key alone."""
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def draw_noise(ids, shape: tuple[int, ...], *, seed: int) -> Latent:
    """Initial noises ``[B, *shape]`` for the sample ids, N(0, I)."""
    return torch.stack([_normal(shape, seed, int(i), 0) for i in ids])


def draw_direction(ids, shape: tuple[int, ...], *, seed: int, kind: Direction, index: int = 0, size: int = 4) -> Latent:
    """Direction number ``index`` of each sample id, ``[B, *shape]``, unit variance per element.

    isotropic: N(0, I), so that E[v v^T] = I (Hutchinson) · low_frequency: N(0, 1) on a ``size`` x ``size`` grid, each
    value repeated over its block.
    """
    if kind == "isotropic":
        return torch.stack([_normal(shape, seed, int(i), 1 + index) for i in ids])
    channels, height, width = shape
    if height % size or width % size:
        raise ValueError(f"low_frequency_size {size} does not divide the latent size {height}x{width}")
    coarse = torch.stack([_normal((channels, size, size), seed, int(i), 1 + index) for i in ids])
    return F.interpolate(coarse, size=(height, width), mode="nearest")


def perturb(noise: Latent, direction: Latent, *, h: float, step: Step) -> Latent:
    """The second member z' of a noise pair.

    straight: z + h v · spherical: cos(a) z + sin(a) v with tan(a) = h, which keeps z' exactly N(0, I) for isotropic v
    and moves by h v to first order.
    """
    if step == "straight":
        return noise + h * direction
    angle = math.atan(h)
    return math.cos(angle) * noise + math.sin(angle) * direction
