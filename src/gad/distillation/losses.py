r"""Distribution matching at re-noised states: TDM, and DMD where the student takes one step.

The student's x0 is re-noised to x_t. Where the teacher at x_t sees more of its data than the fake score sees of the
student's, the difference of their x0 predictions gives the direction in which x0 has to move:

.. math:: \nabla_\theta L = E\left[ (x_0^F - x_0^T)(x_t, t)\, \partial x_0^S / \partial \theta \right]

That is half the squared error's gradient, as in DMD and DMD2 (Yin et al. 2024). TDM (Luo et al. 2025) uses pseudo-Huber
instead, which leaves little more than the sign of each element. Everything here is a function of predictions; no
network is called.
"""

from typing import Literal

from torch.nn import functional as F

from gad.diffusion.schedule import Schedule
from gad.diffusion.shapes import Latent, PerSample

HUBER = 1e-3  # c of the pseudo-Huber loss


def pseudo_huber(error: Latent, c: float = HUBER) -> Latent:
    """sqrt(error² + c²) - c, elementwise: quadratic below c, absolute above."""
    return (error.square() + c**2).sqrt() - c


def min_snr_weight(schedule: Schedule, t: PerSample, *, cap: float = 5.0) -> PerSample:
    """min(alpha_t² / sigma_t², cap), ``[B]``: the signal-to-noise ratio, which weighs an x0 error as an eps error."""
    return (schedule.alpha(t) / schedule.sigma(t)).square().clamp(max=cap)


Kind = Literal["mse", "smooth_l1"]


def matching_loss(x0: Latent, target: Latent, *, kind: Kind = "mse") -> PerSample:
    """Distance of the student's x0 from its target, ``[B]``, mean over elements; 0 when equal, lower is better."""
    loss = F.mse_loss if kind == "mse" else F.smooth_l1_loss
    return loss(x0, target.detach(), reduction="none").flatten(1).mean(dim=1)
