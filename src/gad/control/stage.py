"""The `control` stage: the tasks that a recipe names, for the teacher and every student at the same noises."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from gad.actor import TEACHER, Actor
from gad.artifacts import replacing
from gad.config import Recipe
from gad.control import diversity, layout, noise_optimisation, noise_query
from gad.teachers.load import Model

TASKS = {
    "diversity": diversity,
    "noise_query": noise_query,
    "noise_optimisation": noise_optimisation,
    "layout": layout,
}

NamedStudent = tuple[str, int, Model]
"""Variant, seed and model."""


@dataclass(frozen=True)
class TaskResult:
    """One model's answer to one task: a row per sample, the headline numbers, and what was made.

    Row i is about ``outputs[i]``; outputs are kept for the teacher and one seed of each variant, else there are none.
    """

    task: str
    variant: str
    seed: int
    rows: pd.DataFrame
    numbers: dict[str, float]
    outputs: Tensor


def actors(teacher: Model, students: Iterable[NamedStudent], settings: Recipe) -> Iterator[Actor]:
    """The teacher first, with its own steps and guidance, then every student."""
    pairs, size = settings.noise_pairs, settings.control.batch_size
    yield Actor(TEACHER, 0, teacher, pairs.teacher_steps, pairs.guidance_scale, size)
    for variant, seed, student in students:
        yield Actor(variant, seed, student, pairs.num_nodes, batch_size=size)


def run_tasks(teacher: Model, students: Iterable[NamedStudent], settings: Recipe) -> Iterator[TaskResult]:
    """Yield the result of each task of the recipe for the teacher and each student."""
    everyone = list(actors(teacher, students, settings))
    for name in settings.control.tasks:
        task, config = TASKS[name], getattr(settings.control, name)
        inputs, shown = task.prepare(everyone[0], settings), set()
        for actor in everyone:
            answer = task.run(actor, inputs, config)
            outputs = answer.outputs[:0].clone() if actor.name in shown else answer.outputs
            shown.add(actor.name)
            yield TaskResult(name, actor.name, actor.seed, answer.rows, task.summarise(answer.rows), outputs)


def table_of(results: Iterable[TaskResult]) -> pd.DataFrame:
    """A row per variant and seed with the headline numbers of all tasks."""
    rows: dict[tuple[str, int], dict] = {}
    for result in results:
        row = rows.setdefault((result.variant, result.seed), {"variant": result.variant, "seed": result.seed})
        row |= result.numbers
    return pd.DataFrame(list(rows.values()))


def rows_of_task(results: Iterable[TaskResult], task: str) -> pd.DataFrame:
    """The rows of every model, with its variant and seed; empty for a task that did not run."""
    parts = [r.rows.assign(variant=r.variant, seed=r.seed) for r in results if r.task == task]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def save_rows(results: list[TaskResult], folder: Path) -> None:
    """``<task>.parquet`` in ``folder`` for each task, a row per model and sample."""
    for task in dict.fromkeys(result.task for result in results):
        with replacing(folder / f"{task}.parquet") as partial:
            rows_of_task(results, task).to_parquet(partial)


def shown(results: Iterable[TaskResult], task: str, **wanted) -> dict[str, Tensor]:
    """What the teacher and one seed of each variant made in the rows where every named column has that value."""
    found = {}
    for result in results:
        if result.task == task and len(result.outputs):
            chosen = (result.rows[list(wanted)] == pd.Series(wanted)).all(axis=1).tolist()
            found[result.variant] = result.outputs[torch.tensor(chosen)]
    return found
