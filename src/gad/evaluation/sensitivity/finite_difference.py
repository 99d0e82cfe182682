"""The step of a difference quotient, by a measured rounding floor."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gad.diffusion.jvp import Map, difference_jvp_rounding_floor

STEPS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)  # h in noise standard deviations, float32
FEW = 4  # noises that a step is chosen on


@torch.no_grad()
def choose_finite_difference_step(phi: Map, x: Tensor, direction: Tensor, *, steps: Sequence[float] = STEPS) -> float:
    """The h at which differences at h and h / 2 agree best, by the median over the first few samples of ``x``.

    Below it rounding grows, above it the map bends. ``x`` is float32 or wider, and whole: ``phi`` may hold a prompt for
    each of its samples. It costs two calls of ``phi`` a step. Raises ValueError where the map is not finite, or does
    not move at all.
    """
    floors = difference_jvp_rounding_floor(phi, x, direction, steps=steps)[:, :FEW].median(dim=1).values
    if not floors.isfinite().any():
        raise ValueError("no step can be chosen: the noise-to-image map's differences are not finite, or all zero")
    return steps[int(floors.nan_to_num(nan=torch.inf).argmin())]
