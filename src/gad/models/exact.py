r"""The exact denoiser of a finite point set, with its Jacobian in closed form.

With data uniform on points p_1 .. p_N, Bayes' rule gives

.. math::
    E[x_0 | x_t] = \sum_n w_n p_n, \quad w = \mathrm{softmax}_n\left(-\|x_t - \alpha_t p_n\|^2 / 2 \sigma_t^2\right),
    \qquad \frac{\partial E[x_0 | x_t]}{\partial x_t} = \frac{\alpha_t}{\sigma_t^2}\, \mathrm{Cov}[x_0 | x_t].
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gad.diffusion.conditioning import Conditioning
from gad.diffusion.schedule import Schedule
from gad.diffusion.shapes import Latent, PerSample


@dataclass(frozen=True)
class ExactDenoiser:
    """E[x0 | x_t] over ``points [N, C, H, W]``; ignores the conditioning. Undefined at t = 0."""

    points: Tensor
    schedule: Schedule

    def _weights(self, x_t: Latent, t: PerSample) -> Tensor:
        points = self.points.to(x_t).flatten(1)
        alpha, sigma = self.schedule.alpha(t)[:, None], self.schedule.sigma(t)[:, None]
        # |x|^2 is common to all points and drops out of the softmax
        logits = alpha * (x_t.flatten(1) @ points.T) - alpha.square() * points.square().sum(1) / 2
        return torch.softmax(logits / sigma.square(), dim=1)

    def __call__(self, x_t: Latent, t: PerSample, conditioning: Conditioning | None = None) -> Latent:
        return (self._weights(x_t, t) @ self.points.to(x_t).flatten(1)).view_as(x_t)

    def jvp(self, x_t: Latent, t: PerSample, direction: Latent) -> Latent:
        """(alpha_t / sigma_t²) Cov[x0 | x_t] v, from the formula."""
        points = self.points.to(x_t).flatten(1)
        weights = self._weights(x_t, t)
        centred = points - (weights @ points)[:, None]  # B N D
        along = (centred * direction.flatten(1)[:, None]).sum(-1)  # B N
        covariance_v = torch.einsum("bn,bn,bnd->bd", weights, along, centred)
        scale = self.schedule.alpha(t) / self.schedule.sigma(t).square()
        return (scale[:, None] * covariance_v).view_as(x_t)
