"""One call of both networks at the teacher's own state x_t: the geometry of Table 1 for each noise level.

The whole map mixes what a network answers with where its earlier answers have led it. Here both are asked at the same
point, so that the noise level is seen at which a student stops to listen. A one-step student was trained at t = 1
alone; what it says at other times is its initialisation, left over.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
import torch

from gad.actor import NamedStudent
from gad.config import Recipe
from gad.models.denoiser import Denoiser
from gad.prompts import prompt_of
from gad.response import Map
from gad.sample_ids import ANALYSIS
from gad.sampling import node_times, sample
from gad.sensitivity.by_batch import in_batches
from gad.sensitivity.measure import Steps, analysis_noise, answers, compare
from gad.sensitivity.stage import drawn_kind
from gad.teachers.load import Model

LEVELS = (1.0, 0.75, 0.5, 0.25)
LEVELS_KEPT = "levels"  # the name under which they are kept
DIRECTIONS = 2  # of each noise, at most
METRICS = ["pointwise_mse", "jvp_cosine", "jvp_mse", "student_power", "teacher_power"]


def levels_of(num_nodes: int, teacher_steps: int) -> list[float]:
    """The times, falling, at which both are asked: the student's nodes, and the teacher's next to each quarter."""
    quarters = [round(level * teacher_steps) / teacher_steps for level in LEVELS]
    return sorted({*quarters, *node_times(num_nodes).tolist()[:-1]}, reverse=True)


def call_at(denoise: Denoiser, t: float, conditioning) -> Map:
    """The map from x_t to the network's x0 at one time."""
    return lambda x_t: denoise(x_t, torch.full((len(x_t),), t, dtype=x_t.dtype, device=x_t.device), conditioning)


def measure_levels(
    teacher: Model, students: Iterable[NamedStudent], settings: Recipe, *, parts: Path | None = None
) -> Iterator[pd.DataFrame]:
    """Yield, per batch, student and time, a row per noise and direction with the metrics of one call at x_t^T.

    ``parts`` as in :func:`gad.sensitivity.stage.measure_students`.
    """
    yield from in_batches(LEVELS_KEPT, levels_at, teacher, students, settings, parts)


@torch.no_grad()
def levels_at(
    ids: range, teacher: Model, students: list[NamedStudent], settings: Recipe, steps: Steps
) -> Iterator[pd.DataFrame]:
    """:func:`measure_levels` at one batch of noises."""
    config, pairs = settings.sensitivity, settings.noise_pairs
    guided, prompts = teacher.guided(pairs.guidance_scale), prompt_of(ids, pairs.prompts)
    _, noise, directions = analysis_noise(teacher, config, drawn_kind(config), ids=ids)
    directions, conditioning = directions[:DIRECTIONS], teacher.condition(prompts)
    states = sample(guided, noise, conditioning, num_steps=pairs.teacher_steps)
    times = levels_of(pairs.num_nodes, pairs.teacher_steps)
    points = {t: states[round((1 - t) * pairs.teacher_steps)] for t in times}

    def answers_of(denoise: Denoiser, own, name: str, t: float):
        return answers(call_at(denoise, t, own), points[t], directions, config, steps=steps, key=f"{name} at {t}")

    theirs = {t: answers_of(guided, conditioning, "the teacher", t) for t in times}
    for variant, seed, student in students:
        own = student.condition(prompts)
        for t in times:
            rows = compare(answers_of(student.denoiser, own, f"student {variant} (seed {seed})", t), theirs[t])
            rows = rows[[*METRICS, "noise", "direction"]].assign(variant=variant, seed=seed, t=t)
            yield rows.assign(noise=rows["noise"] + ids.start - ANALYSIS)


def level_table(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per variant, seed and time: mean cosine, errors, and the gain sqrt(E‖J_S v‖² / E‖J_T v‖²)."""
    means = rows.groupby(["variant", "seed", "t"], sort=False)[METRICS].mean().reset_index()
    gain = (means.pop("student_power") / means.pop("teacher_power")) ** 0.5
    return means.assign(gain=gain)


def wide(levels: pd.DataFrame, metrics=("jvp_cosine", "gain", "jvp_mse", "pointwise_mse")) -> pd.DataFrame:
    """The same with a row per variant and seed and a column ``metric at t = ...``, as metrics files are made from."""
    parts = []
    for t, group in levels.groupby("t", sort=False):
        names = {metric: f"{metric} at t = {t:g}" for metric in metrics}
        parts.append(group.set_index(["variant", "seed"])[list(names)].rename(columns=names))
    return pd.concat(parts, axis=1).reset_index()
