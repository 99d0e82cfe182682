r"""Distribution matching at re-noised states: TDM, and DMD where the chain has one node.

The student's x0 is re-noised to x_t. Where the teacher, asked at x_t, sees more of its data than the fake score sees of
the student's, the difference of their answers says which way x0 has to move:

.. math:: \nabla_\theta L = E\left[ (x_0^F - x_0^T)(x_t, t)\, \partial x_0^S / \partial \theta \right]

That is half the squared error's gradient, as in DMD and DMD2 (Yin et al. 2024). TDM (Luo et al. 2025) puts pseudo-Huber
in its place, which leaves little more than the sign of each element. Everything here is a function of predictions; no
network is called.
"""

from typing import Literal

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

    A chain's x_t holds the noise that was already in x_mid. ``added`` is the unit noise put on x_mid, ``mixed`` all the
    noise in x_t as one unit noise: (x_t - alpha_t x0) / sigma_t.
    """
    return (_mean(added.square() - mixed.square()) / 2).exp()


def renoise(schedule: Schedule, t_mid: PerSample, t: PerSample) -> tuple[PerSample, PerSample]:
    """Factors (a, b) with x_t = a x_mid + b eps: forward diffusion from t_mid to a later t, ``[B]`` each.

    a = alpha_t / alpha_mid, b = sqrt(sigma_t² - a² sigma_mid²); from t_mid = 0 they are alpha_t and sigma_t.
    """
    a = schedule.alpha(t) / schedule.alpha(t_mid)
    return a, (schedule.sigma(t).square() - (a * schedule.sigma(t_mid)).square()).clamp(min=0).sqrt()
