"""Re-noised outputs of the student, at which teacher and fake score are evaluated."""

from dataclasses import dataclass

import torch

from gad.diffusion.denoiser import Denoiser
from gad.diffusion.sampling import ddim_step, sample, sampling_timesteps
from gad.diffusion.schedule import Schedule
from gad.diffusion.shapes import Latent, PerSample, expand_per_sample, mean_per_sample
from gad.distillation.batch import Batch

EARLIEST = 0.02  # the re-noised times' lower end
MARGIN = 0.01  # how far they stay below the student timestep


@dataclass(frozen=True)
class Renoised:
    """The student's x0 prediction at a timestep of its own sampling trajectory and a re-noised state of it."""

    x0: Latent
    x_t: Latent
    t: PerSample
    importance: PerSample


def renoised_output(
    student: Denoiser, batch: Batch, generator: torch.Generator, *, student_steps: int, onward: bool
) -> Renoised:
    """The student's x0 at a random step of its trajectory, with its gradient, and a random re-noised state of it.

    ``onward`` (TDM): x0 is taken to the next timestep first and re-noised to a time between that and its
    own. Else (SiD): it is re-noised from clean data to any time before its own.
    """
    count, times = len(batch.noise), sampling_timesteps(student_steps, batch.noise.device).to(batch.noise)
    node, uniform, eps = batch.integers(student_steps, generator), batch.uniform(generator), batch.normal(generator)
    with torch.no_grad():
        states = sample(student, batch.noise, batch.conditioning, num_steps=student_steps, stop=student_steps - 1)
    x_student, t_student = states[node, torch.arange(count, device=node.device)], times[node]
    t_mid = times[node + 1] if onward else torch.zeros_like(t_student)
    x0 = student(x_student, t_student, batch.conditioning)
    x_mid = ddim_step(student.schedule, x_student, x0, t_student, t_mid)
    low, high = t_mid.clamp(min=EARLIEST), t_student - MARGIN
    t = low + (high - low) * uniform
    a, b = renoising_factors(student.schedule, t_mid, t)
    x_t = expand_per_sample(a, eps) * x_mid + expand_per_sample(b, eps) * eps
    mixed = (x_t - expand_per_sample(student.schedule.alpha(t), eps) * x0) / expand_per_sample(
        student.schedule.sigma(t), eps
    )
    return Renoised(x0, x_t, t, renoising_importance_weight(eps, mixed).detach())


def renoising_importance_weight(added: Latent, mixed: Latent) -> PerSample:
    r"""exp(-|mixed|² / 2) / exp(-|added|² / 2) with means over elements, ``[B]``; 1 when the two are alike.

    On a sampling trajectory x_t holds the noise that was already in x_mid. ``added`` is the unit noise put on x_mid,
    ``mixed`` all the noise in x_t as one unit noise: (x_t - alpha_t x0) / sigma_t.
    """
    return (mean_per_sample(added.square() - mixed.square()) / 2).exp()


def renoising_factors(schedule: Schedule, t_mid: PerSample, t: PerSample) -> tuple[PerSample, PerSample]:
    """Factors (a, b) with x_t = a x_mid + b eps: forward diffusion from t_mid to a later t, ``[B]`` each.

    a = alpha_t / alpha_mid, b = sqrt(sigma_t² - a² sigma_mid²); from t_mid = 0 they are alpha_t and sigma_t.
    """
    a = schedule.alpha(t) / schedule.alpha(t_mid)
    return a, (schedule.sigma(t).square() - (a * schedule.sigma(t_mid)).square()).clamp(min=0).sqrt()
