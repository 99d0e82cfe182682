r"""Controls: terms that a noise pair allows as well, and that GAD has to beat at equal weight."""

from torch import Tensor

from gad.diffusion.jvp import Response
from gad.diffusion.shapes import PerSample

LARGEST = 3.0  # times the teacher's typical response, up to which a larger one counts as more diverse


def diversity_loss(student: Response, *, jvp_power: float) -> PerSample:
    r"""Minus the size of the student's response, relative to the teacher's, ``[B]``: any response is a good one.

    .. math:: - \min\Big( \big( \tfrac{1}{d} \| J_S v \|_2^2 \,/\, p \big)^{1/2},\; 3 \Big), \qquad
        p = E \tfrac{1}{d} \|J_T v\|_2^2

    The diversity regulariser of the paper's Table 7, per unit of h, in [-3, 0]; lower is more diverse. The paper's has
    no bound, and beside a base loss that is weak far from the data the student's answers then grow until they overflow.
    """
    return -(student.jvp.square().flatten(1).mean(dim=1) / jvp_power).sqrt().clamp(max=LARGEST)


def random_gradient_loss(student: Response, teacher: Response, direction: Tensor) -> PerSample:
    r"""A pull on the student's response as strong as GAD's, in a direction that knows nothing of the teacher, ``[B]``.

    .. math:: \frac{2}{d} \left< \mathrm{sg}(\rho),\, J_S v \right>, \qquad
        \rho = \| J_S v - J_T v \|_2 \; r / \|r\|_2

    Its gradient on J_S v has the norm of :func:`gad.losses.gad.gad_response_loss`'s, whatever ``direction`` r is drawn.
    Only its gradient has a meaning.
    """
    gap = (student.jvp - teacher.jvp).flatten(1).norm(dim=1)
    r = direction.flatten(1)
    rho = (gap[:, None] * r / r.norm(dim=1, keepdim=True)).detach()
    return 2 * (rho * student.jvp.flatten(1)).mean(dim=1)
