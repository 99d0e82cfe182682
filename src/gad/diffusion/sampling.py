"""Samplers: the teacher's ODE and the few-step student, both deterministic. They return whole trajectories."""

import math

import torch
from torch import Tensor

from gad.diffusion.conditioning import Conditioning
from gad.diffusion.denoiser import Denoiser
from gad.diffusion.schedule import Schedule
from gad.diffusion.shapes import Latent, PerSample, Trajectory, expand_per_sample


def sampling_timesteps(num_steps: int, device: torch.device | None = None) -> Tensor:
    """The times 1, 1 - 1/S, ..., 1/S, 0 of S sampling steps, ``[S + 1]``, made on ``device``: no copy to wait for.

    They are the timesteps of diffusers' DDIM with trailing spacing where S divides 1000. Its flow scheduler has to be
    told: ``sigmas=[1, ..., 1/S]``; by itself it goes from 1 to 0.001 and then to 0, which is the same for S = 1 only.
    """
    return torch.arange(num_steps, -1, -1, device=device) / num_steps


def next_sampling_timestep(t: float, student_steps: int) -> float:
    """The first timestep below ``t`` of a sampler of so many steps."""
    return math.ceil(t * student_steps - 1e-4) / student_steps - 1 / student_steps


def ddim_step(schedule: Schedule, x_t: Latent, x0: Latent, t: PerSample, t_next: PerSample) -> Latent:
    """The state at ``t_next``: x0 and the noise it implies, mixed anew. On the flow schedule this is Euler's step.

    x_s = alpha_s x0 + sigma_s (x_t - alpha_t x0) / sigma_t (DDIM with eta = 0)
    """
    alpha, sigma = expand_per_sample(schedule.alpha(t), x_t), expand_per_sample(schedule.sigma(t), x_t)
    alpha_next, sigma_next = (
        expand_per_sample(schedule.alpha(t_next), x_t),
        expand_per_sample(schedule.sigma(t_next), x_t),
    )
    return alpha_next * x0 + sigma_next * (x_t - alpha * x0) / sigma


def x0_of_ddim_step(schedule: Schedule, x_t: Latent, x_next: Latent, t: PerSample, t_next: PerSample) -> Latent:
    """The x0 with which :func:`ddim_step` leads from ``x_t`` to ``x_next``: its inverse in x0."""
    alpha, sigma = expand_per_sample(schedule.alpha(t), x_t), expand_per_sample(schedule.sigma(t), x_t)
    alpha_next, sigma_next = (
        expand_per_sample(schedule.alpha(t_next), x_t),
        expand_per_sample(schedule.sigma(t_next), x_t),
    )
    return (x_next - sigma_next / sigma * x_t) / (alpha_next - sigma_next / sigma * alpha)


def sample(
    denoise: Denoiser,
    noise: Latent,
    conditioning: Conditioning | None,
    *,
    num_steps: int,
    start: int = 0,
    stop: int | None = None,
) -> Trajectory:
    """All states from noise (first) to data (last), ``[S + 1, B, C, H, W]``; or those from step ``start``,
    where
    ``noise`` is the state, to step ``stop``."""
    times = sampling_timesteps(num_steps, noise.device)[start : None if stop is None else stop + 1].to(noise)
    states = [noise]
    for t, t_next in zip(times[:-1].unbind(), times[1:].unbind(), strict=True):
        t, t_next = t.expand(len(noise)), t_next.expand(len(noise))
        x0 = denoise(states[-1], t, conditioning)
        states.append(ddim_step(denoise.schedule, states[-1], x0, t, t_next))
    return torch.stack(states)
