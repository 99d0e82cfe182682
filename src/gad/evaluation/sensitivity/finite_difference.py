"""The step of a difference quotient, by a measured rounding floor, and whether a map has a forward mode at all."""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from gad.diffusion.jvp import Map, difference_jvp, difference_rounding_floor, exact_jvps

STEPS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)  # h in noise standard deviations, float32
FEW = 4  # noises that a step is chosen on
NO_FORWARD_MODE = ("forward AD", "autograd.Function", "vmap support", "functorch transform.")  # what PyTorch says then


@torch.no_grad()
def choose_step(phi: Map, x: Tensor, direction: Tensor, *, steps: Sequence[float] = STEPS) -> float:
    """The h at which differences at h and h / 2 agree best, by the median over the first few samples of ``x``.

    Below it rounding grows, above it the map bends. ``x`` is float32 or wider, and whole: ``phi`` may hold a prompt for
    each of its samples. It costs two calls of ``phi`` a step. Raises ValueError where the map is not finite, or does
    not move at all.
    """
    floors = difference_rounding_floor(phi, x, direction, steps=steps)[:, :FEW].median(dim=1).values
    if not floors.isfinite().any():
        raise ValueError("no step can be chosen: the noise-to-image map's differences are not finite, or all zero")
    return steps[int(floors.nan_to_num(nan=torch.inf).argmin())]


def exact_jvps_or_none(phi: Map, x: Tensor, directions: Tensor) -> tuple[Tensor, Tensor] | None:
    """Value and exact derivatives ``[K, B, ...]``, or None where an operation of the network has no forward mode.

    Warns, with PyTorch's reason, in that case; every other error of the network is raised.
    """
    try:
        return exact_jvps(phi, x, directions)
    except RuntimeError as error:  # NotImplementedError is one
        reason = str(error).splitlines()[0]
        if not any(sign in reason for sign in NO_FORWARD_MODE):
            raise
        warnings.warn(
            f"derivatives are taken by difference, for the network has no forward mode: {reason[:120]}", stacklevel=2
        )
        return None


@torch.no_grad()
def exact_and_difference_jvp(phi: Map, x: Tensor, direction: Tensor) -> dict[str, Tensor | float | None]:
    """The derivative ``exact`` and by ``difference``, the ``h`` of the latter, and how far the two are apart.

    ``disagreement`` is ‖difference - exact‖ / ‖exact‖ per sample ``[B]``, 0 is best. ``exact`` and ``disagreement``
    are None where the network has no forward mode.
    """
    h = choose_step(phi, x, direction)
    difference = difference_jvp(phi, x, direction, h=h).jvp
    response = exact_jvps_or_none(phi, x, direction[None])
    if response is None:
        return {"exact": None, "difference": difference, "h": h, "disagreement": None}
    exact = response[1][0]
    apart = (difference - exact).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)
    return {"exact": exact, "difference": difference, "h": h, "disagreement": apart}


def mean_derivative_cosine(one: Tensor | None, other: Tensor | None) -> float:
    """Mean cosine of two derivatives over samples, NaN where one of them is missing."""
    if one is None or other is None:
        return float("nan")
    return F.cosine_similarity(one.flatten(1), other.flatten(1)).mean().item()
