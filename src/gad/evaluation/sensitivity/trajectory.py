r"""Cumulative trajectory deviation from the teacher along the shared noise (the paper's Table 4).

The paper gives neither norm nor accumulation; ours, at the times t_1 > t_2 > ... > t_m = 0 that it names, are

.. math:: D(t_k) = \sum_{j \le k} \tfrac1d \| x^S_{t_j} - x^T_{t_j} \|^2 .

Between its own timesteps a student is taken to go straight, one whose first step the teacher takes as well.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from gad.config import Recipe
from gad.config.sample_ids import ANALYSIS
from gad.data.prompts import prompt_of
from gad.diffusion.conditioning import Conditioning
from gad.diffusion.denoiser import Denoiser
from gad.diffusion.noise import draw_noise
from gad.diffusion.sampling import ddim_step, sample, sampling_timesteps, x0_of_ddim_step
from gad.diffusion.schedule import Schedule
from gad.diffusion.shapes import Latent, Trajectory
from gad.evaluation.sensitivity.batches import Comparison, measured_in_batches
from gad.evaluation.sensitivity.responses import Steps
from gad.models.external_sampler import ExternalSampler
from gad.models.model import Model
from gad.models.sampler import NamedStudent

TIMES = (0.75, 0.5, 0.25, 0.0)  # those of Table 4
TOLERANCE = 1e-6  # a float32 timestep may differ a hair from its time


def trajectory_deviation(student: Trajectory, teacher: Trajectory, *, start_shared: bool = True) -> Tensor:
    """Deviation accumulated over the timesteps so far, ``[S, B]``: one row per timestep; lower is better.

    At a timestep: the mean over elements of (x_t^S - x_t^T)²; the last row is the sum over all timesteps down to t = 0.
    With ``start_shared`` the first state is the common noise and has no row.
    """
    error = (student - teacher).square().flatten(2).mean(2)
    return torch.cumsum(error[1:] if start_shared else error, dim=0)


def interpolate_trajectory(
    schedule: Schedule, states: Trajectory, at: Sequence[float], times: Sequence[float]
) -> Float[Tensor, "times B C H W"]:
    """A trajectory's states at ``times`` from its ``states`` at the falling timesteps ``at``.

    At a timestep it is the trajectory's state; before the first one it is the noise. Between two timesteps it is the
    point on the way that leads from one to the other: the x0 and noise that both imply, mixed for that time,
    x_s = alpha_s x0 + sigma_s eps. For a DDIM step or an Euler step along a flow that is the way the step takes. So a
    one-step student, whose only output is x0 from z, has a path too: from z straight (flow) or on the arc (diffusion)
    to x0. Raises ValueError for a time after the last timestep.
    """
    found = []
    for time in times:
        if time < at[-1] - TOLERANCE:
            raise ValueError(f"the sampling trajectory ends at t = {at[-1]:g}, before t = {time:g}")
        k = next(k for k, timestep in enumerate(at) if timestep <= time + TOLERANCE)
        if k == 0 or abs(at[k] - time) <= TOLERANCE:
            found.append(states[k])
        else:
            x_t, x_next = states[k - 1], states[k]
            t, t_next, t_wanted = (x_t.new_full((len(x_t),), value) for value in (at[k - 1], at[k], time))
            x0 = x0_of_ddim_step(schedule, x_t, x_next, t, t_next)
            found.append(ddim_step(schedule, x_t, x0, t, t_wanted))
    return torch.stack(found)


@torch.no_grad()
def trajectory_states_at(
    denoise: Denoiser, noise: Latent, conditioning: Conditioning | None, *, num_steps: int, times: Sequence[float]
) -> Trajectory:
    """States of the trajectory of ``num_steps`` steps at ``times``, ``[len(times), B, C, H, W]``.

    Between timesteps as :func:`interpolate_trajectory`.
    An external model is sampled with its own trajectory, whatever ``num_steps`` says.
    """
    if isinstance(denoise, ExternalSampler):
        assert conditioning is not None
        schedule, states, at = denoise.path(noise, conditioning)
        return interpolate_trajectory(schedule, states, at, times)
    states = sample(denoise, noise, conditioning, num_steps=num_steps)
    return interpolate_trajectory(denoise.schedule, states, sampling_timesteps(num_steps).tolist(), times)


TRAJECTORY = "trajectory"


def measure_trajectories(
    teacher: Model, students: Iterable[NamedStudent], settings: Recipe, *, cache_dir: Path | None = None
) -> Iterator[pd.DataFrame]:
    """Yield, per batch of noises and student, a row per noise and time of ``TIMES``: cumulative deviation (Table 4).

    :func:`interpolate_trajectory` gives a state between two sampling steps.
    ``cache_dir`` as in :func:`measure_end_to_end`.
    """
    compared = Comparison(teacher, list(students), settings.sensitivity, settings.sampling)
    yield from measured_in_batches(TRAJECTORY, deviations_at, compared, cache_dir)


@torch.no_grad()
def deviations_at(ids: range, compared: Comparison, steps: Steps) -> Iterator[pd.DataFrame]:
    """:func:`measure_trajectories` at one batch of noises."""
    teacher, config, sampling = compared.teacher, compared.config, compared.sampling
    times = TIMES
    noise, prompts = draw_noise(ids, teacher.latent_shape, seed=config.seed), prompt_of(ids, sampling.prompts)
    guided, conditioning = teacher.guided(sampling.guidance_scale), teacher.condition(prompts)
    reference = trajectory_states_at(guided, noise, conditioning, num_steps=sampling.teacher_steps, times=times)
    for variant, seed, student in compared.students:
        own = student.condition(prompts)
        states = trajectory_states_at(student.denoiser, noise, own, num_steps=sampling.student_steps, times=times)
        deviation = trajectory_deviation(states, reference, start_shared=False).tolist()
        for t, values in zip(times, deviation, strict=True):
            numbers = range(ids.start - ANALYSIS, ids.stop - ANALYSIS)
            yield pd.DataFrame({"variant": variant, "seed": seed, "t": t, "noise": numbers, "deviation": values})


def trajectories_in_columns(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`summarise_trajectories` with a row per variant and seed and a column ``deviation at t = ...`` per time."""
    named = table.assign(t="deviation at t = " + table["t"].map("{:g}".format))
    return named.pivot(index=["variant", "seed"], columns="t", values="deviation").reset_index()


def summarise_trajectories(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per variant, seed and time: the mean of the deviations over the noises."""
    return rows.groupby(["variant", "seed", "t"], sort=False)["deviation"].mean().reset_index()
