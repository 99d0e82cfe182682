r"""Top right singular vectors of a map's Jacobian, without the matrix: the directions of its strongest response.

Randomised subspace iteration (Halko, Martinsson and Tropp, 2011) with J v by forward and J^T u by reverse mode:

.. math::
    U = \mathrm{orth}(J V), \qquad W = J^\top U = V' \Sigma P^\top, \qquad V \leftarrow V'

W^T = U^T J is the Jacobian seen from the space of its outputs, so its right singular vectors approach J's own, and its
singular values approach J's from below. Every sample has its own Jacobian, start and decomposition.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from gad.diffusion.jvp import Map, exact_jvps
from gad.diffusion.noise import Ids, draw_direction
from gad.diffusion.shapes import Latent

Along = Callable[[Map, Latent, Float[Tensor, "K B C H W"]], tuple[Latent, Float[Tensor, "K B C H W"]]]
"""Value and derivatives of a map along several directions."""

START = 10_000  # number of the first starting direction of a sample, far from those that noise pairs draw
SPARE = 4  # further directions that are iterated and dropped: they make the last kept one converge


@torch.no_grad()
def top_singular_vectors(
    phi: Map, x: Latent, count: int, *, rounds: int = 2, ids: Ids, seed: int, along: Along = exact_jvps
) -> tuple[Float[Tensor, "K B C H W"], Float[Tensor, "B K"]]:
    """The ``count`` orthonormal vectors v_k of the strongest response of J at ``x``, and the strengths |J v_k|.

    ``phi`` maps each sample by itself. Strengths fall with k, per unit of noise; they are lower bounds of the singular
    values, and more ``rounds`` bring both closer. The start depends on ``ids`` and ``seed`` alone, so a sample's
    result does not depend on its batch (beyond rounding, which can turn vectors of equal strength into each other). A
    vector's largest component is positive. ``along`` takes J v: by differences for a map without forward mode, whose
    strengths are lower bounds all the same, for they come from J^T u. Cost: about 2 rounds (count + 4) calls of a
    derivative. Raises ValueError for more directions than dimensions.
    """
    dim = x[0].numel()
    if not 1 <= count <= dim:
        raise ValueError(f"there are 1 to {dim} singular directions of a latent of {dim} numbers, not {count}")
    width = min(count + SPARE, dim)
    start = [draw_direction(ids, x.shape[1:], seed=seed, kind="isotropic", index=START + k) for k in range(width)]
    vectors = _columns(torch.stack(start)).to(x)
    with sdpa_kernel(SDPBackend.MATH):
        answer, pull_back = torch.func.vjp(phi, x)[:2]
        for _ in range(rounds):
            moved = along(phi, x, _latents(vectors, x))[1]
            basis = torch.linalg.qr(_columns(moved)).Q  # U, B D' m
            (pulled,) = torch.func.vmap(pull_back)(_latents(basis, answer))
            vectors, strengths, _ = torch.linalg.svd(_columns(pulled), full_matrices=False)
    vectors, strengths = vectors[..., :count], strengths[:, :count]
    peak = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return _latents(vectors * peak.sign(), x), strengths


def _columns(latents: Float[Tensor, "K B C H W"]) -> Float[Tensor, "B D K"]:
    return latents.flatten(2).permute(1, 2, 0)


def _latents(columns: Float[Tensor, "B D K"], like: Latent) -> Float[Tensor, "K B C H W"]:
    return columns.permute(2, 0, 1).unflatten(2, like.shape[1:])
