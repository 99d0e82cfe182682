r"""Noise schedules and the four parameterisations of a denoiser.

.. math:: x_t = \alpha_t x_0 + \sigma_t \epsilon, \qquad \epsilon \sim N(0, I), \qquad t \in [0, 1]

``t = 0`` is data and ``t = 1`` is noise. Diffusion schedules keep alpha² + sigma² = 1; flow schedules keep
alpha + sigma = 1.
"""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from gad.diffusion.shapes import Latent, PerSample, expand_per_sample

Parameterisation = Literal["x0", "eps", "v", "flow"]


@runtime_checkable
class Schedule(Protocol):
    """What a noise schedule provides."""

    def alpha(self, t: PerSample) -> PerSample: ...

    def sigma(self, t: PerSample) -> PerSample: ...

    def timestep(self, t: PerSample) -> Tensor:
        """The timestep that the network gets for ``t``."""

    def time(self, timestep: Tensor) -> PerSample:
        """The ``t`` of a timestep that the network gets: the inverse of :meth:`timestep`."""

    def to(self, device: torch.device | str) -> "Schedule":
        """The schedule with what it holds on ``device``: times from there need no wait for a copy."""


@dataclass(frozen=True)
class CosineSchedule:
    """alpha_t = cos(pi t / 2), sigma_t = sin(pi t / 2): variance preserving, pure noise at t = 1."""

    def alpha(self, t: PerSample) -> PerSample:
        return torch.cos(t * torch.pi / 2)

    def sigma(self, t: PerSample) -> PerSample:
        return torch.sin(t * torch.pi / 2)

    def timestep(self, t: PerSample) -> Tensor:
        return t

    def time(self, timestep: Tensor) -> PerSample:
        return timestep

    def to(self, device: torch.device | str) -> "CosineSchedule":
        return self


@dataclass(frozen=True)
class FlowSchedule:
    r"""alpha_t = 1 - sigma_t (rectified flow); networks get 1000 sigma_t, times their own ``timestep_scale``.

    sigma_t = t, or with a ``shift`` s > 1 more time at high noise, as for large images (Esser et al. 2024, Eq. (23)):

    .. math:: \sigma_t = \frac{s\,t}{1 + (s - 1)\,t}
    """

    shift: float = 1.0

    def alpha(self, t: PerSample) -> PerSample:
        return 1 - self.sigma(t)

    def sigma(self, t: PerSample) -> PerSample:
        return t if self.shift == 1 else self.shift * t / (1 + (self.shift - 1) * t)

    def timestep(self, t: PerSample) -> Tensor:
        return 1000 * self.sigma(t)

    def time(self, timestep: Tensor) -> PerSample:
        sigma = timestep / 1000
        return sigma if self.shift == 1 else sigma / (self.shift - (self.shift - 1) * sigma)

    def to(self, device: torch.device | str) -> "FlowSchedule":
        return self


@dataclass(frozen=True)
class TableSchedule:
    """The schedule of a diffusers diffusion scheduler: alpha_t² from its table of T integer timesteps.

    Timestep ``i`` stands at t = (i + 1) / T, so that t = 1 is the last one and t = 0 is clean data. Times between two
    timesteps are rounded to the nearest.
    """

    alphas_cumprod: Tensor

    def timestep(self, t: PerSample) -> Tensor:
        return (t * len(self.alphas_cumprod)).round().long().clamp(min=1) - 1

    def time(self, timestep: Tensor) -> PerSample:
        return (timestep + 1) / len(self.alphas_cumprod)

    def _alpha_squared(self, t: PerSample) -> PerSample:
        table = self.alphas_cumprod.to(device=t.device, dtype=t.dtype)
        return torch.where(t * len(table) < 0.5, torch.ones_like(t), table[self.timestep(t)])

    def alpha(self, t: PerSample) -> PerSample:
        return self._alpha_squared(t).sqrt()

    def sigma(self, t: PerSample) -> PerSample:
        return (1 - self._alpha_squared(t)).sqrt()

    def to(self, device: torch.device | str) -> "TableSchedule":
        return TableSchedule(self.alphas_cumprod.to(device))


class OnSchedule(nn.Module):
    """A module whose schedule goes where its weights go."""

    schedule: Schedule

    def _apply(self, *arguments, **options):
        super()._apply(*arguments, **options)
        self.schedule = self.schedule.to(next(self.parameters()).device)
        return self


def add_noise(schedule: Schedule, x0: Latent, eps: Latent, t: PerSample) -> Latent:
    """x_t = alpha_t x0 + sigma_t eps."""
    return expand_per_sample(schedule.alpha(t), x0) * x0 + expand_per_sample(schedule.sigma(t), x0) * eps


def to_x0(schedule: Schedule, output: Latent, x_t: Latent, t: PerSample, kind: Parameterisation) -> Latent:
    """The clean-latent prediction in a network's output.

    eps: (x_t - sigma eps) / alpha, undefined where alpha_t = 0 · v: alpha x_t - sigma v · flow u = eps - x0, on the
    flow schedule only: x_t - sigma u.
    """
    alpha, sigma = expand_per_sample(schedule.alpha(t), x_t), expand_per_sample(schedule.sigma(t), x_t)
    match kind:
        case "x0":
            return output
        case "eps":
            return (x_t - sigma * output) / alpha
        case "v":
            return alpha * x_t - sigma * output
        case "flow":
            return x_t - sigma * output


def from_x0(schedule: Schedule, x0: Latent, x_t: Latent, t: PerSample, kind: Parameterisation) -> Latent:
    """The network output that means ``x0``; the inverse of :func:`to_x0`. Undefined at t = 0 unless kind is x0."""
    alpha, sigma = expand_per_sample(schedule.alpha(t), x_t), expand_per_sample(schedule.sigma(t), x_t)
    match kind:
        case "x0":
            return x0
        case "eps":
            return (x_t - alpha * x0) / sigma
        case "v":
            return (alpha * x_t - x0) / sigma
        case "flow":
            return (x_t - x0) / sigma
