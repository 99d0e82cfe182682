r"""A map's value and its directional derivative, taken together at one point.

.. math:: J_\Phi(x)\,v = \lim_{h \to 0} \frac{\Phi(x + h v) - \Phi(x)}{h}
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from gad.diffusion.shapes import Latent
from gad.diffusion.step_size import check_step_size

Map = Callable[[Latent], Latent]


NO_FORWARD_MODE = ("forward AD", "autograd.Function", "vmap support", "functorch transform.")  # what PyTorch says then


@dataclass(frozen=True)
class Response:
    """A map's value and its directional derivative, per unit of h, taken at the same point."""

    x0: Latent
    jvp: Latent


def exact_jvp(phi: Map, x: Latent, direction: Latent) -> Response:
    """Value and exact derivative by forward mode; about the cost of two calls.

    Attention runs on the math kernel, the only one with a forward-mode derivative. Does not pass gradient
    checkpointing.
    """
    with sdpa_kernel(SDPBackend.MATH):
        return Response(*torch.func.jvp(phi, (x,), (direction,)))


def exact_jvps(
    phi: Map, x: Latent, directions: Float[Tensor, "K B C H W"]
) -> tuple[Latent, Float[Tensor, "K B C H W"]]:
    """Value and exact derivatives along several directions: the value is computed once for all of them.

    Equal to :func:`exact_jvp` direction by direction, at about half of its cost for four directions; ``phi`` runs under
    ``torch.func.vmap`` as well. Memory grows with K.
    """
    with sdpa_kernel(SDPBackend.MATH):
        both = torch.func.vmap(
            lambda v: torch.func.jvp(phi, (x,), (v,))[:2],
            out_dims=(None, 0),  # type: ignore[arg-type]  # torch documents None: not mapped
        )
        return both(directions)


def difference_jvp(phi: Map, x: Latent, direction: Latent, *, h: float) -> Response:
    """Value and the forward difference of Eq. (5) at the same base point. ``x`` is float32 or wider.

    Raises ValueError when h is not positive, or so small that rounding drowns the response.
    """
    check_step_size(h, x.dtype)
    value = phi(x)
    return Response(value, (phi(x + h * direction) - value) / h)


def difference_jvp_rounding_floor(
    phi: Map, x: Latent, direction: Latent, *, steps: Sequence[float]
) -> Float[Tensor, "steps B"]:
    """Measured relative disagreement of the differences at h and h / 2, for each h of ``steps`` and sample; 0 is best.

    Truncation makes it fall with h, rounding makes it rise again: the smallest h before the rise is the floor. It costs
    two calls of ``phi`` a step, and one for the value. Raises ValueError as :func:`difference_jvp`.
    """
    value, found = phi(x), []
    for h in steps:
        check_step_size(h / 2, x.dtype)
        whole, half = ((phi(x + step * direction) - value).flatten(1) / step for step in (h, h / 2))
        found.append((whole - half).norm(dim=1) / half.norm(dim=1))
    return torch.stack(found)


def difference_jvps(phi: Map, x: Tensor, directions: Tensor, *, h: float) -> tuple[Tensor, Tensor]:
    """Value and forward differences, Eq. (5), along every direction ``[K, B, ...]``; one call at the base point."""
    check_step_size(h, x.dtype)
    value = phi(x)
    return value, torch.stack([(phi(x + h * direction) - value) / h for direction in directions])


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
