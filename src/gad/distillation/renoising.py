"""Re-noised outputs of the student, at which teacher and fake score are evaluated."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gad.diffusion.denoiser import Denoiser
from gad.diffusion.retimed_schedule import process_schedule, process_time
from gad.diffusion.sampling import ddim_step, sample, sampling_timesteps
from gad.diffusion.schedule import Schedule
from gad.diffusion.shapes import Latent, PerSample, expand_per_sample, mean_per_sample
from gad.distillation.batch import Batch
from gad.runtime.devices import send_to_device

EARLIEST = 0.02  # the re-noised times' lower end
MARGIN = 0.01  # how far they stay below the student timestep


@dataclass(frozen=True)
class Renoised:
    """The student's x0 prediction at a timestep of its own sampling trajectory and a re-noised state of it."""

    x0: Latent
    x_t: Latent
    t: PerSample
    importance: PerSample


@dataclass(frozen=True)
class Rollout:
    """The student's x0 prediction at a drawn timestep ``t`` of its own trajectory, where it stands at ``x_t``."""

    x0: Latent
    x_t: Latent
    t: PerSample
    t_next: PerSample

    def detached(self) -> "Rollout":
        """The same without the student's gradient."""
        return replace(self, x0=self.x0.detach())


def student_rollout(
    student: Denoiser, batch: Batch, generator: torch.Generator, *, student_steps: int, shortest: bool = False
) -> Rollout:
    """The student's x0, with its gradient, at a random step of its trajectory; the steps before it are without one.

    ``shortest``: each sample goes as far as its step alone, about half of the calls, whose rows differ by rounding.
    """
    times = sampling_timesteps(student_steps, batch.noise.device).to(batch.noise)
    node_here = batch.integers_here(student_steps, generator)
    node = send_to_device(node_here, batch.noise.device)
    with torch.no_grad():
        if shortest and not node.is_meta:  # shapes alone know no steps
            x_t = _walk_to(student, batch, node_here, student_steps)
        else:
            states = sample(student, batch.noise, batch.conditioning, num_steps=student_steps, stop=student_steps - 1)
            x_t = states[node, torch.arange(len(batch.noise), device=node.device)]
    return Rollout(student(x_t, times[node], batch.conditioning), x_t, times[node], times[node + 1])


def _walk_to(student: Denoiser, batch: Batch, node: Tensor, student_steps: int) -> Latent:
    """Each sample's state at its own step, in calls of those that have not got there. ``node`` is on the CPU."""
    x_t = batch.noise.clone()
    for step in range(student_steps - 1):
        left = send_to_device((node > step).nonzero().flatten(), x_t.device)
        if len(left):
            prompts = None if batch.conditioning is None else batch.conditioning[left]
            x_t[left] = sample(student, x_t[left], prompts, num_steps=student_steps, start=step, stop=step + 1)[-1]
    return x_t


def renoised_rollout(
    rollout: Rollout, schedule: Schedule, batch: Batch, generator: torch.Generator, *, onward: bool
) -> Renoised:
    """A random re-noised state of a rollout's x0.

    ``onward`` (TDM): x0 is taken to the next timestep first and re-noised to a time between that and its
    own. Else (SiD): it is re-noised from clean data to any time before its own. Where the student's ``schedule`` has
    times of its own, x0 is taken on at those, and re-noised by the process of teacher and fake score.
    """
    uniform, eps = batch.uniform(generator), batch.normal(generator)
    x0, t_student = rollout.x0, rollout.t
    t_mid = rollout.t_next if onward else torch.zeros_like(t_student)
    x_mid = ddim_step(schedule, rollout.x_t, x0, t_student, t_mid)
    t_student, t_mid = torch.maximum(t_student, process_time(schedule, t_student)), process_time(schedule, t_mid)
    schedule = process_schedule(schedule)
    low, high = t_mid.clamp(min=EARLIEST), t_student - MARGIN
    t = low + (high - low) * uniform
    a, b = renoising_factors(schedule, t_mid, t)
    x_t = expand_per_sample(a, eps) * x_mid + expand_per_sample(b, eps) * eps
    mixed = (x_t - expand_per_sample(schedule.alpha(t), eps) * x0) / expand_per_sample(schedule.sigma(t), eps)
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
