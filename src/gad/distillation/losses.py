"""Losses that several objectives share, as functions of predictions; no network is called."""

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
