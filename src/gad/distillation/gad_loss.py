r"""The geometric alignment term in its forms, as functions of responses. It knows no network.

response
    The student's map against the teacher's. Eq. (6) and (8): the one that is sound on its own.
score
    Eq. (9) as printed. Its gradient has zero mean at first order: x_t does not depend on v and the
    responses are odd in v, so E_v[(J_F - J_T) v] = 0.
score_fixed
    The same mismatch along the student's own response, and paired with it, so that nothing cancels.
released
    What the released code (Huang et al.) does, fault for fault.
"""

from gad.diffusion.jvp import Response
from gad.diffusion.shapes import Latent, PerSample, mean_per_sample
from gad.distillation.losses import pseudo_huber


def gad_response_loss(student: Response, teacher: Response) -> PerSample:
    r"""Gap between the student's and the teacher's responses, ``[B]`` per unit of h and element. Eq. (6) and (8).

    .. math:: \frac{1}{d} \big\| J_S v - \mathrm{sg}\, J_T v \big\|_2^2

    Zero when both move alike; blind to a constant offset between them; lower is better. The paper's loss on
    differences is h² d times this one.
    """
    return mean_per_sample((student.jvp - teacher.jvp.detach()).square())


def gad_score_loss(x_t: Latent, fake: Latent, real: Latent) -> PerSample:
    r"""Eq. (9) as printed, ``[B]``: a loss with the gradient sg(J_F v - J_T v) on the student's re-noised state x_t.

    .. math:: \frac{1}{d} \left< \mathrm{sg}(J_F v - J_T v),\, x_t \right>

    ``fake`` and ``real`` are the two scores' responses to v in x0, per unit of h, at x_t. For noise predictions the
    sign is the other way round, as eps = (x_t - alpha x0) / sigma. Only its gradient has a meaning.
    """
    return mean_per_sample((fake - real).detach() * x_t)


def gad_score_fixed_loss(student_jvp: Latent, fake: Latent, real: Latent) -> PerSample:
    r"""A score form that does not cancel: the scores' mismatch along the student's own response meets it, ``[B]``.

    .. math:: \frac{1}{d} \left< \mathrm{sg}((J_F - J_T)\, u),\, J_S v \right>, \quad u = \mathrm{sg}(J_S v), \qquad
        \nabla_{J_S} E_v L = \frac{1}{d} (J_F - J_T)\, J_S \quad (v \sim N(0, I))

    ``fake`` and ``real`` are the two scores' responses J_F u and J_T u in x0 to the step of x_t that the student's own
    output makes. Eq. (9) pairs the mismatch, odd in v, with x_t, which does not depend on v: nothing is left on
    average. Here E[v v^T] = I stays, and the expected gradient on the student's Jacobian vanishes exactly when both
    scores respond alike to all that the student can move. It is the gradient of u^T (J_F - J_T) u / 2d, distribution
    matching's one derivative up: a score's J is (alpha / sigma²) Cov[x0 | x_t], so J_S shrinks where the student
    spreads more than the teacher and grows where it spreads less, whichever way J_S turns. (A step along v itself would
    favour one orientation of J_S over its mirror image.) So it matches how far samples spread, not which noise goes
    where. Only its gradient has a meaning; no gradient reaches a score.
    """
    return mean_per_sample((fake - real).detach() * student_jvp)


def gad_released_loss(student_gap: Latent, real_gap: Latent, uncond_gap: Latent, fake_gap: Latent, *, guidance: float):
    r"""What the released code (Huang et al.) computes, ``[B]``, faults included, for comparison only.

    ``student_gap`` is the student's x0 at the perturbed x_t less its x0 at the *student timestep*, two points and
    two times, so it is no directional derivative; the other gaps are the teacher's (with and without prompt) and the
    fake score's between x_t + h v and x_t, with v of unit norm. pseudo-Huber of ds - sg[ds + dT - dF + (w - 1)(dT -
    dT_uncond)], divided by mean|ds - dT_guided|: dividing by the residual leaves little more than a sign and cancels h.
    """
    guided = real_gap + (guidance - 1) * (real_gap - uncond_gap)
    target = (student_gap + guided - fake_gap).detach()
    scale = mean_per_sample((student_gap - guided).detach().abs()).clamp(min=1e-8)
    return mean_per_sample(pseudo_huber(student_gap - target)) / scale
