r"""Distribution matching at re-noised states: TDM, and DMD where the student takes one step.

The student's x0 is re-noised to x_t. Where the teacher at x_t sees more of its data than the fake score sees of the
student's, the difference of their x0 predictions gives the direction in which x0 has to move:

.. math:: \nabla_\theta L = E\left[ (x_0^F - x_0^T)(x_t, t)\, \partial x_0^S / \partial \theta \right]

That is half the squared error's gradient, as in DMD and DMD2 (Yin et al. 2024). TDM (Luo et al. 2025) uses pseudo-Huber
instead, which leaves little more than the sign of each element. Everything here is a function of predictions; no
network is called.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from gad.diffusion.jvp import Response
from gad.diffusion.schedule import Schedule
from gad.diffusion.shapes import Latent, PerSample

DistanceKind = Literal["mse", "pseudo_huber"]
HUBER = 1e-3  # c of the pseudo-Huber loss


def _mean(error: Latent) -> PerSample:
    return error.flatten(1).mean(dim=1)


def pseudo_huber(error: Latent, c: float = HUBER) -> Latent:
    """sqrt(error² + c²) - c, elementwise: quadratic below c, absolute above."""
    return (error.square() + c**2).sqrt() - c


def distribution_matching_loss(x0: Latent, real: Latent, fake: Latent, *, kind: DistanceKind = "mse") -> PerSample:
    """Loss ``[B]`` whose gradient on the student's ``x0`` points along fake - real; 0 when they agree.

    D(x0, sg[x0 + real - fake]) / mean|x0 - real|, where D is half the squared error or pseudo-Huber, mean over
    elements. ``real`` is the teacher's (guided) and ``fake`` the fake score's x0 at the same x_t; neither gets a
    gradient, nor does the weight.
    """
    target = (x0 + real - fake).detach()
    scale = _mean((x0 - real).detach().abs()).clamp(min=1e-8)
    error = x0 - target
    return _mean(error.square() / 2 if kind == "mse" else pseudo_huber(error)) / scale


def fake_score_loss(prediction: Latent, x0: Latent, weight: PerSample) -> PerSample:
    """Denoising loss of the fake score on the student's x0, ``[B]``: weight · mean (x0_F(x_t, t) - sg x0)²."""
    return weight * _mean((prediction - x0.detach()).square())


def min_snr_weight(schedule: Schedule, t: PerSample, *, cap: float = 5.0) -> PerSample:
    """min(alpha_t² / sigma_t², cap), ``[B]``: the signal-to-noise ratio, which weighs an x0 error as an eps error."""
    return (schedule.alpha(t) / schedule.sigma(t)).square().clamp(max=cap)


def importance_weight(added: Latent, mixed: Latent) -> PerSample:
    r"""exp(-|mixed|² / 2) / exp(-|added|² / 2) with means over elements, ``[B]``; 1 when the two are alike.

    On a sampling trajectory x_t holds the noise that was already in x_mid. ``added`` is the unit noise put on x_mid,
    ``mixed`` all the noise in x_t as one unit noise: (x_t - alpha_t x0) / sigma_t.
    """
    return (_mean(added.square() - mixed.square()) / 2).exp()


def renoise(schedule: Schedule, t_mid: PerSample, t: PerSample) -> tuple[PerSample, PerSample]:
    """Factors (a, b) with x_t = a x_mid + b eps: forward diffusion from t_mid to a later t, ``[B]`` each.

    a = alpha_t / alpha_mid, b = sqrt(sigma_t² - a² sigma_mid²); from t_mid = 0 they are alpha_t and sigma_t.
    """
    a = schedule.alpha(t) / schedule.alpha(t_mid)
    return a, (schedule.sigma(t).square() - (a * schedule.sigma(t_mid)).square()).clamp(min=0).sqrt()


Logits = Float[Tensor, "B K"]
"""A discriminator's logits: one number per head and place; positive means "the teacher's, and of this prompt"."""


def generator_loss(fake: Logits) -> PerSample:
    """-log D of the student's samples, ``[B]``, mean over logits; falls as they are taken for the teacher's."""
    return F.softplus(-fake).mean(dim=1)


def discriminator_loss(real: Logits, fake: Logits, misaligned: Logits | None = None) -> PerSample:
    """-log D(real) - log(1 - D(fake)), ``[B]``; 2 log 2 for a discriminator that knows nothing.

    ``misaligned`` are real samples under another sample's prompt: they share the fakes' weight with the student's.
    """
    fakes = F.softplus(fake).mean(dim=1)
    if misaligned is not None:
        fakes = (fakes + F.softplus(misaligned).mean(dim=1)) / 2
    return F.softplus(-real).mean(dim=1) + fakes


LARGEST = 3.0  # times the teacher's typical response, up to which a larger one counts as more diverse


def diversity_loss(student: Response, *, jvp_power: float) -> PerSample:
    r"""Minus the size of the student's response, relative to the teacher's, ``[B]``: any response is a good one.

    .. math:: - \min\Big( \big( \tfrac{1}{d} \| J_S v \|_2^2 \,/\, p \big)^{1/2},\; 3 \Big), \qquad
        p = E \tfrac{1}{d} \|J_T v\|_2^2

    The diversity regulariser of the paper's Table 7, per unit of h, in [-3, 0]; lower is more diverse. The paper's has
    no bound, and beside a base loss that is weak far from the data the student's outputs then grow until they overflow.
    """
    return -(student.jvp.square().flatten(1).mean(dim=1) / jvp_power).sqrt().clamp(max=LARGEST)


def random_gradient_loss(
    student: Response, teacher: Response, direction: Tensor, *, bounded: bool = False
) -> PerSample:
    r"""A gradient on the student's response with GAD's norm, in a random direction, ``[B]``.

    .. math:: \frac{2}{d} \left< \mathrm{sg}(\rho),\, J_S v \right>, \qquad
        \rho = \| J_S v - J_T v \|_2 \; r / \|r\|_2

    Its gradient on J_S v has the norm of :func:`gad.distillation.gad_loss.gad_response_loss`'s, whatever ``direction``
    r is drawn. Only its gradient has a meaning. It closes no gap, and grows with the gap that it opens; where it is
    ``bounded``, the norm of rho is at most that of the teacher's response.
    """
    gap = (student.jvp - teacher.jvp).flatten(1).norm(dim=1)
    if bounded:
        gap = torch.minimum(gap, teacher.jvp.flatten(1).norm(dim=1))
    r = direction.flatten(1)
    rho = (gap[:, None] * r / r.norm(dim=1, keepdim=True)).detach()
    return 2 * (rho * student.jvp.flatten(1)).mean(dim=1)


Kind = Literal["mse", "smooth_l1"]


def matching_loss(x0: Latent, target: Latent, *, kind: Kind = "mse") -> PerSample:
    """Distance of the student's x0 from its target, ``[B]``, mean over elements; 0 when equal, lower is better."""
    loss = F.mse_loss if kind == "mse" else F.smooth_l1_loss
    return loss(x0, target.detach(), reduction="none").flatten(1).mean(dim=1)


def score_identity_loss(x0: Latent, real: Latent, fake: Latent, *, alpha: float = 1.0) -> PerSample:
    """The SiD loss ``[B]``, mean over elements, divided by sg mean|x0 - real|; 0 when real equals fake.

    ``x0``, ``real`` and ``fake`` all carry gradients to the student. alpha = 1 leaves (y_T - y_F) · (y_F - x0).
    It is no distance and can be negative.
    """
    gap = real - fake
    loss = (gap * ((real - x0) - alpha * gap)).flatten(1).mean(dim=1)
    scale = (x0 - real).detach().abs().flatten(1).mean(dim=1).clamp(min=1e-8)
    return loss / scale
