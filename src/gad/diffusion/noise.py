"""Noise, directions and the steps along them; every sample has its own generator, so batches do not matter.

Noise is drawn on the CPU in float32 whatever the device.
"""

import math
from collections.abc import Iterable
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from gad.diffusion.shapes import Latent

Direction = Literal["isotropic", "low_frequency", "singular"]
Ids = Iterable[int] | Tensor
"""Sample ids: whole numbers, or a tensor of them."""

Step = Literal["straight", "spherical"]


def _normal(shape: tuple[int, ...], *key: int) -> Tensor:
    """Standard normal numbers that depend on the key alone."""
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
    return torch.from_numpy(generator.standard_normal(shape, dtype=np.float32))


def draw_noise(ids: Ids, shape: tuple[int, ...], *, seed: int) -> Latent:
    """Initial noises ``[B, *shape]`` for the sample ids, N(0, I)."""
    return torch.stack([_normal(shape, seed, int(i), 0) for i in ids])


def noise_low_frequency_part(latent: Latent, size: int) -> Latent:
    """The projection P on latents that are constant on each block of a ``size`` x ``size`` grid.

    Raises ValueError when the grid does not divide the latent.
    """
    height, width = latent.shape[-2:]
    if height % size or width % size:
        raise ValueError(f"low_frequency_size {size} does not divide the latent size {height}x{width}")
    return F.interpolate(F.adaptive_avg_pool2d(latent, size), size=(height, width), mode="nearest")


def noise_span_part(latent: Latent, basis: Float[Tensor, "K B C H W"]) -> Latent:
    """The projection P of each latent on the space that its own orthonormal ``basis`` spans."""
    return torch.einsum("kbchw,bk->bchw", basis, torch.einsum("kbchw,bchw->bk", basis, latent))


def noise_direction_part(latent: Latent, kind: Direction, *, size: int = 4, basis: Tensor | None = None) -> Latent:
    """P latent, the part in the space that directions of ``kind`` are drawn from.

    Raises ValueError where singular directions come without their ``basis``, which no seed brings back.
    """
    if kind == "singular":
        if basis is None:
            raise ValueError(
                "singular directions are drawn in a basis of their own: give it, see gad.diffusion.singular_vectors"
            )
        return noise_span_part(latent, basis)
    return latent if kind == "isotropic" else noise_low_frequency_part(latent, size)


def draw_direction(
    ids: Ids,
    shape: tuple[int, ...],
    *,
    seed: int,
    kind: Direction,
    index: int = 0,
    size: int = 4,
    basis: Tensor | None = None,
) -> Latent:
    """Direction number ``index`` of each sample id, ``[B, *shape]``: N(0, P).

    isotropic: P is the identity, so that E[v v^T] = I (Hutchinson) · low_frequency: unit variance along each of the
    ``size`` x ``size`` modes of a channel and none elsewhere · singular: unit variance along each vector of ``basis``.
    """
    direction = torch.stack([_normal(shape, seed, int(i), 1 + index) for i in ids])
    return noise_direction_part(direction, kind, size=size, basis=basis)


def perturb(
    noise: Latent,
    direction: Latent,
    *,
    h: float,
    step: Step,
    kind: Direction = "isotropic",
    size: int = 4,
    basis: Tensor | None = None,
) -> Latent:
    """The second member z' of a noise pair.

    straight: z + h v · spherical: z turned by the angle a with tan(a) = h inside the space that v is drawn from,
    z + (cos(a) - 1) P z + sin(a) v, where P is the identity for isotropic v. So z' stays exactly N(0, I) where P does
    not depend on z, as sampling expects it, and moves by h v to first order.
    """
    if step == "straight":
        return noise + h * direction
    angle = math.atan(h)
    turned = noise_direction_part(noise, kind, size=size, basis=basis)
    return noise + (math.cos(angle) - 1) * turned + math.sin(angle) * direction


def turn_noise(noise: Tensor, towards: Tensor, angle: Tensor) -> Tensor:
    """Each noise turned by its angle towards a direction, on its own sphere; one without a direction stays."""
    z, g = noise.flatten(1), towards.flatten(1)
    norm = z.norm(dim=1, keepdim=True)
    along = g - (g * z).sum(1, keepdim=True) / norm.square() * z
    length = along.norm(dim=1, keepdim=True)
    step = torch.cos(angle)[:, None] * z + torch.sin(angle)[:, None] * norm * along / length.clamp(min=1e-30)
    return torch.where(length > 0, step, z).view_as(noise)
