"""One call of both networks at the teacher's own state x_t: the geometry of Table 1 for each noise level.

The whole map mixes what a network answers with where its earlier answers have led it. Here both are asked at the same
point, so that the noise level is seen at which a student stops to listen. A one-step student was trained at t = 1
alone; what it says at other times is its initialisation, left over.
"""

from collections.abc import Iterable, Iterator

import pandas as pd
import torch

from gad.actor import NamedStudent
from gad.config import Recipe
from gad.models.denoiser import Denoiser
from gad.prompts import prompt_of
from gad.response import Map
from gad.sample_ids import ANALYSIS
from gad.sampling import node_times, sample
from gad.sensitivity.measure import analysis_ids, analysis_noise, answers, batches_of, compare
from gad.sensitivity.stage import check_student, drawn_kind
from gad.teachers.load import Model

LEVELS = (1.0, 0.75, 0.5, 0.25)
DIRECTIONS = 2  # of each noise, at most
METRICS = ["pointwise_mse", "jvp_cosine", "jvp_mse", "student_power", "teacher_power"]


def levels_of(num_nodes: int, teacher_steps: int) -> list[float]:
    """The times, falling, at which both are asked: the student's nodes, and the teacher's next to each quarter."""
    quarters = [round(level * teacher_steps) / teacher_steps for level in LEVELS]
    return sorted({*quarters, *node_times(num_nodes).tolist()[:-1]}, reverse=True)


def call_at(denoise: Denoiser, t: float, conditioning) -> Map:
    """The map from x_t to the network's x0 at one time."""
    return lambda x_t: denoise(x_t, torch.full((len(x_t),), t, dtype=x_t.dtype, device=x_t.device), conditioning)


@torch.no_grad()
def measure_levels(teacher: Model, students: Iterable[NamedStudent], settings: Recipe) -> Iterator[pd.DataFrame]:
    """Yield, per batch, student and time, a row per noise and direction with the metrics of one call at x_t^T."""
    pairs, students = settings.noise_pairs, list(students)
    config = settings.sensitivity
    guided, steps = teacher.guided(pairs.guidance_scale), {}
    levels = levels_of(pairs.num_nodes, pairs.teacher_steps)
    for variant, seed, student in students:
        check_student(f"{variant} (seed {seed})", student, teacher)
    for ids in batches_of(analysis_ids(config), config.batch_size):
        prompts = prompt_of(ids, settings.noise_pairs.prompts)
        _, noise, directions = analysis_noise(teacher, config, drawn_kind(config), ids=ids)
        directions, conditioning = directions[:DIRECTIONS], teacher.condition(prompts)
        states = sample(guided, noise, conditioning, num_steps=pairs.teacher_steps)
        points = {t: states[round((1 - t) * pairs.teacher_steps)] for t in levels}
        theirs = {
            t: answers(call_at(guided, t, conditioning), x_t, directions, config, steps=steps, key=t)
            for t, x_t in points.items()
        }
        for variant, seed, student in students:
            own = student.condition(prompts)
            for t, x_t in points.items():
                told = {"steps": steps, "key": (variant, seed, t)}
                answer = answers(call_at(student.denoiser, t, own), x_t, directions, config, **told)
                rows = compare(answer, theirs[t])
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
