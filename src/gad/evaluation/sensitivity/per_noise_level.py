r"""One call of the student at the teacher's own state x_t: the geometry of Table 1 for each noise level.

The noise-to-image map mixes a network's prediction with the state that its earlier predictions led to. Here it is
evaluated at the teacher's state, which shows the noise level at which a student stops responding. Its call has to reach
the student's next timestep s, so the reference is the x0 whose step leads where the teacher's trajectory does,

.. math:: \hat x_0 : \quad \alpha_s \hat x_0 + \sigma_s \hat\epsilon = \Phi_{t \to s}(x_t), \quad
    \alpha_t \hat x_0 + \sigma_t \hat\epsilon = x_t,

and not one call of the teacher, whose prediction is a mean over all that the noise leaves open. A one-step student was
trained at t = 1 alone; its values at other times are those of its initialisation. Students whose first step the teacher
takes are left out: at t = 1 they are the reference itself, at other times the student that has a row already.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
import torch

from gad.config import Recipe
from gad.config.sample_ids import ANALYSIS
from gad.data.prompts import prompt_of
from gad.diffusion.denoiser import Denoiser
from gad.diffusion.jvp import Map
from gad.diffusion.maps import single_call_map
from gad.diffusion.sampling import next_sampling_timestep, sample, x0_of_ddim_step
from gad.diffusion.shapes import Latent
from gad.evaluation.sensitivity.analysis_noise import analysis_direction_kind, analysis_noise
from gad.evaluation.sensitivity.batches import Comparison, measured_in_batches
from gad.evaluation.sensitivity.responses import Steps, rows_of_responses, value_and_responses
from gad.models.first_step import TeacherFirstStep
from gad.models.model import Model
from gad.models.sampler import NamedStudent

LEVELS = (1.0, 0.75, 0.5, 0.25)
NOISE_LEVELS = "noise_levels"  # the name of their cached results and table
DIRECTIONS = 1  # of each noise: the teacher is sampled onward from every level
METRICS = ["pointwise_mse", "jvp_cosine", "jvp_mse", "student_power", "teacher_power"]


def noise_levels_of(student_steps: int, teacher_steps: int) -> list[float]:
    """The times of evaluation, falling: the student's timesteps, and the teacher's next to each quarter."""
    times = [round(level * teacher_steps) / teacher_steps for level in LEVELS]
    times += [1 - k / student_steps for k in range(student_steps)]
    return sorted({round(time, 6) for time in times}, reverse=True)


def noise_level_map(denoise: Denoiser, t: float, stop: float, conditioning, *, num_steps: int) -> Map:
    """The map from x_t to the x0 whose one step leads to the state at ``stop`` of a trajectory of ``num_steps`` steps.

    Both times are timesteps of that trajectory. To x0 itself at 0.
    """
    first, last = (round((1 - time) * num_steps) for time in (t, stop))

    def phi(x_t: Latent) -> Latent:
        end = sample(denoise, x_t, conditioning, num_steps=num_steps, start=first, stop=last)[-1]
        times = (torch.full((len(x_t),), time, dtype=x_t.dtype, device=x_t.device) for time in (t, stop))
        return x0_of_ddim_step(denoise.schedule, x_t, end, *times)

    return phi


def measure_noise_levels(
    teacher: Model, students: Iterable[NamedStudent], settings: Recipe, *, cache_dir: Path | None = None
) -> Iterator[pd.DataFrame]:
    """Yield, per batch, student and time, a row per noise and direction with the metrics of one call at x_t^T against
    :func:`noise_level_map` of the teacher's trajectory.

    ``cache_dir`` as in :func:`gad.evaluation.sensitivity.end_to_end.measure_end_to_end`.
    """
    compared = Comparison(teacher, list(students), settings.sensitivity, settings.sampling)
    yield from measured_in_batches(NOISE_LEVELS, noise_levels_at, compared, cache_dir)


@torch.no_grad()
def noise_levels_at(ids: range, compared: Comparison, steps: Steps) -> Iterator[pd.DataFrame]:
    """:func:`measure_noise_levels` at one batch of noises."""
    teacher, config, sampling = compared.teacher, compared.config, compared.sampling
    guided, prompts = teacher.guided(sampling.guidance_scale), prompt_of(ids, sampling.prompts)
    _, noise, directions = analysis_noise(teacher, config, analysis_direction_kind(config), ids=ids)
    directions, conditioning = directions[:DIRECTIONS], teacher.condition(prompts)
    states = sample(guided, noise, conditioning, num_steps=sampling.teacher_steps)
    times = noise_levels_of(sampling.student_steps, sampling.teacher_steps)
    points = {t: states[round((1 - t) * sampling.teacher_steps)] for t in times}

    def derivatives_of(phi: Map, name: str, t: float):
        return value_and_responses(phi, points[t], directions, config, steps=steps, key=f"{name} at {t}")

    ends = {t: next_sampling_timestep(t, sampling.student_steps) for t in times}
    maps = {t: noise_level_map(guided, t, ends[t], conditioning, num_steps=sampling.teacher_steps) for t in times}
    theirs = {t: derivatives_of(phi, "the teacher", t) for t, phi in maps.items()}
    for variant, seed, student in compared.students:
        if isinstance(student.denoiser, TeacherFirstStep):
            continue
        own = student.condition(prompts)
        for t in times:
            phi = single_call_map(student.denoiser, t, own)
            rows = rows_of_responses(derivatives_of(phi, f"student {variant} (seed {seed})", t), theirs[t])
            rows = rows[[*METRICS, "noise", "direction"]].assign(variant=variant, seed=seed, t=t)
            yield rows.assign(noise=rows["noise"] + ids.start - ANALYSIS)


def summarise_noise_levels(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per variant, seed and time: mean cosine, errors, and the gain sqrt(E‖J_S v‖² / E‖J_T v‖²)."""
    means = rows.groupby(["variant", "seed", "t"], sort=False)[METRICS].mean().reset_index()
    gain = (means.pop("student_power") / means.pop("teacher_power")) ** 0.5
    return means.assign(gain=gain)


def noise_levels_in_columns(
    levels: pd.DataFrame, metrics=("jvp_cosine", "gain", "jvp_mse", "pointwise_mse")
) -> pd.DataFrame:
    """The same with a row per variant and seed and a column ``metric at t = ...``, as metrics files are made from."""
    parts = []
    for t, group in levels.groupby("t", sort=False):
        names = {metric: f"{metric} at t = {t:g}" for metric in metrics}
        parts.append(group.set_index(["variant", "seed"])[list(names)].rename(columns=names))
    return pd.concat(parts, axis=1).reset_index()
