r"""A map's value and its directional derivative, taken together at one point.

.. math:: J_\Phi(x)\,v = \lim_{h \to 0} \frac{\Phi(x + h v) - \Phi(x)}{h}
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from gad.shapes import Latent

Map = Callable[[Latent], Latent]


@dataclass(frozen=True)
class Response:
    """A map's value and its directional derivative, per unit of h, taken at the same point."""

    x0: Latent
    jvp: Latent


def respond(phi: Map, x: Latent, direction: Latent) -> Response:
    """Value and exact derivative by forward mode; about the cost of two calls.

    Attention runs on the math kernel, the only one with a forward-mode derivative. Does not pass gradient
    checkpointing.
    """
    with sdpa_kernel(SDPBackend.MATH):
        return Response(*torch.func.jvp(phi, (x,), (direction,)))


def respond_by_difference(phi: Map, x: Latent, direction: Latent, *, h: float) -> Response:
    """Value and the forward difference of Eq. (5) at the same base point. ``x`` is float32 or wider.

    Raises ValueError when h is not positive, or so small that rounding drowns the response.
    """
    check_step(h, x.dtype)
    value = phi(x)
    return Response(value, (phi(x + h * direction) - value) / h)


def smallest_step(dtype: torch.dtype) -> float:
    """The smallest h whose difference quotient keeps its rounding error under about a tenth, in units of noise.

    Rounding gives an error of u |Phi| / (h |J v|), with u the dtype's unit roundoff, and |J v| is of the size of |Phi|
    for unit noise: hence h >= 10 u.
    """
    return 10 * torch.finfo(dtype).eps / 2


def check_step(h: float, dtype: torch.dtype) -> None:
    """Raise ValueError, naming an h that would do, when ``h`` cannot be used with networks of ``dtype``."""
    floor = smallest_step(dtype)
    name = str(dtype).removeprefix("torch.")
    if not h > 0:
        raise ValueError(f"perturbation_scale h must be positive, not {h:g}")
    if h < floor:
        raise ValueError(f"perturbation_scale h = {h:g} drowns in the rounding of {name}; use h >= {floor:.2g}")


def rounding_floor(phi: Map, x: Latent, direction: Latent, *, h: float) -> Tensor:
    """Measured relative disagreement of the differences at h and h / 2, per sample ``[B]``; 0 is best.

    Truncation makes it fall with h, rounding makes it rise again: the smallest h before the rise is the floor.
    """
    whole = respond_by_difference(phi, x, direction, h=h).jvp.flatten(1)
    half = respond_by_difference(phi, x, direction, h=h / 2).jvp.flatten(1)
    return (whole - half).norm(dim=1) / half.norm(dim=1)
