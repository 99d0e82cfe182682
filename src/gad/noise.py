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
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
    return torch.from_numpy(generator.standard_normal(shape, dtype=np.float32))


def draw_noise(ids, shape: tuple[int, ...], *, seed: int) -> Latent:
    """Initial noises ``[B, *shape]`` for the sample ids, N(0, I)."""
    return torch.stack([_normal(shape, seed, int(i), 0) for i in ids])


def low_frequency_part(latent: Latent, size: int) -> Latent:
    """The projection P on latents that are constant on each block of a ``size`` x ``size`` grid.

    Raises ValueError when the grid does not divide the latent.
    """
    height, width = latent.shape[-2:]
    if height % size or width % size:
        raise ValueError(f"low_frequency_size {size} does not divide the latent size {height}x{width}")
    return F.interpolate(F.adaptive_avg_pool2d(latent, size), size=(height, width), mode="nearest")


def draw_direction(ids, shape: tuple[int, ...], *, seed: int, kind: Direction, index: int = 0, size: int = 4) -> Latent:
    """Direction number ``index`` of each sample id, ``[B, *shape]``.

    isotropic: N(0, I), so that E[v v^T] = I (Hutchinson) · low_frequency: N(0, P), unit variance along each of the
    ``size`` x ``size`` modes of a channel and none elsewhere, with P of :func:`low_frequency_part`.
    """
    direction = torch.stack([_normal(shape, seed, int(i), 1 + index) for i in ids])
    return direction if kind == "isotropic" else low_frequency_part(direction, size)


def perturb(
    noise: Latent, direction: Latent, *, h: float, step: Step, kind: Direction = "isotropic", size: int = 4
) -> Latent:
    """The second member z' of a noise pair.

    straight: z + h v · spherical: z turned by the angle a with tan(a) = h inside the space that v is drawn from,
    z + (cos(a) - 1) P z + sin(a) v, where P is the identity for isotropic v. So z' stays exactly N(0, I), as sampling
    expects it, and moves by h v to first order.
    """
    if step == "straight":
        return noise + h * direction
    angle = math.atan(h)
    turned = noise if kind == "isotropic" else low_frequency_part(noise, size)
    return noise + (math.cos(angle) - 1) * turned + math.sin(angle) * direction
