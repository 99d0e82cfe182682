r"""Score identity distillation (SiD), in x0: Zhou et al. 2024, for flows arXiv:2509.25127.

With y_T and y_F the teacher's and the fake score's x0 at the re-noised student answer x_t,

.. math:: L_\alpha = \overline{(y_T - y_F) \cdot \left( (y_T - x_0^S) - \alpha (y_T - y_F) \right)}

Its minimum over the student, for an ideal fake score, is the teacher's distribution. The gradient passes through x0 and
through both networks at x_t; the x0 form is the same for diffusion and for flow schedules.
"""

from gad.diffusion.shapes import Latent, PerSample


def score_identity_loss(x0: Latent, real: Latent, fake: Latent, *, alpha: float = 1.0) -> PerSample:
    """The SiD loss ``[B]``, mean over elements, divided by sg mean|x0 - real|; 0 when real equals fake.

    ``x0``, ``real`` and ``fake`` all carry gradients to the student. alpha = 1 leaves (y_T - y_F) · (y_F - x0).
    It is no distance and can be negative.
    """
    gap = real - fake
    loss = (gap * ((real - x0) - alpha * gap)).flatten(1).mean(dim=1)
    scale = (x0 - real).detach().abs().flatten(1).mean(dim=1).clamp(min=1e-8)
    return loss / scale
