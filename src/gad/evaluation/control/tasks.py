"""The `control` stage: the tasks that a recipe names, for the teacher and every student at the same noises.

Results are cached model by model (:mod:`gad.evaluation.jobs`), so that a killed stage resumes, and other processes can
precompute them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from gad.config import Recipe
from gad.evaluation.control import diversity, noise_optimisation, noise_query
from gad.evaluation.control.layout import layout
from gad.evaluation.jobs import Job, files_in_settings, precompute_jobs, results_of_jobs
from gad.models.model import Model
from gad.models.sampler import NamedStudent, Sampler, all_samplers
from gad.models.weights_hash import model_key
from gad.runtime.cache import Result
from gad.runtime.files import write_table
from gad.runtime.fingerprint import stage_cache_key
from gad.runtime.paths import EMOJI

TASKS = {
    "diversity": diversity,
    "noise_query": noise_query,
    "noise_optimisation": noise_optimisation,
    "layout": layout,
}

SHOWN = 8  # prompts whose images are saved: at 512 px those of all would be gigabytes a model


@dataclass(frozen=True)
class TaskResult:
    """One model's result of one task: a row per sample, the headline numbers, and the outputs.

    ``outputs[i]`` is that of the i-th row whose ``kept`` is true: of the teacher and one seed of each variant, all
    points, but only the images of the first ``SHOWN`` prompts.
    """

    task: str
    variant: str
    seed: int
    rows: pd.DataFrame
    numbers: dict[str, float]
    outputs: Tensor


def _task_key(name: str, teacher: Sampler, settings: Recipe) -> str:
    """A fingerprint of what decides a task's results, besides the evaluated model."""
    control, evaluators = settings.control, EMOJI / "evaluators"
    section = getattr(control, name).model_dump(exclude={"batch_size", "recompute"})  # no result depends on them
    asked = (name, section, control.seed, control.clip, settings.noise_pairs.captions)
    by = (model_key(teacher.model), teacher.num_steps, teacher.guidance_scale)
    read = [*files_in_settings([section, control.clip]), *([evaluators] if evaluators.exists() else [])]
    return stage_cache_key("control", *asked, *by, *read)


def _jobs_of(models: list[Sampler], settings: Recipe) -> list[Job]:
    """Each task of the recipe, as every model runs it; the first of them is the teacher."""
    teacher = models[0]
    first: dict[str, Sampler] = {}
    for sampler in models:
        first.setdefault(sampler.name, sampler)

    def run(name: str, sampler: Sampler, inputs) -> Result:
        made = TASKS[name].run(sampler, inputs, getattr(settings.control, name))
        kept = torch.full((len(made.rows),), first[sampler.name] is sampler)
        if made.outputs.ndim == 4:
            kept &= torch.tensor(made.rows["prompt"].to_numpy()) < SHOWN
        return {"rows": made.rows.assign(kept=kept.tolist()), "outputs": made.outputs[kept]}

    return [
        Job(
            name,
            cache_key=partial(_task_key, name, teacher, settings),
            prepare=partial(TASKS[name].prepare, teacher, settings),
            run=partial(run, name),
        )
        for name in settings.control.tasks
    ]


def run_tasks(
    teacher: Model, students: Iterable[NamedStudent], settings: Recipe, *, cache_dir: Path | None = None
) -> Iterator[TaskResult]:
    """Yield the result of each task of the recipe for the teacher and each student.

    Results are cached in the folder ``cache_dir``, where it is given, and those found there are read.
    """
    models = all_samplers(teacher, students, settings.sampling, batch_size=settings.control.batch_size)
    for job, sampler, result in results_of_jobs(_jobs_of(models, settings), models, cache_dir):
        rows, outputs = result["rows"], result["outputs"]
        yield TaskResult(job.name, sampler.name, sampler.seed, rows, TASKS[job.name].summarise(rows), outputs)


def precompute_control(
    teacher: Model, students: Iterable[NamedStudent], settings: Recipe, *, cache_dir: Path
) -> Iterator[str]:
    """Cache this process's share of the results of :func:`run_tasks` in ``cache_dir``; yield a line for each."""
    models = all_samplers(teacher, students, settings.sampling, batch_size=settings.control.batch_size)
    if settings.control.noise_query:
        noise_query.make_query_library(models[0], settings)
    yield from precompute_jobs(_jobs_of(models, settings), models, cache_dir)


def control_table(results: Iterable[TaskResult]) -> pd.DataFrame:
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


def save_task_rows(results: list[TaskResult], folder: Path) -> None:
    """``<task>.parquet`` in ``folder`` for each task, a row per model and sample."""
    for task in dict.fromkeys(result.task for result in results):
        write_table(folder / f"{task}.parquet", rows_of_task(results, task))


def shown_task_outputs(results: Iterable[TaskResult], task: str, **wanted) -> dict[str, Tensor]:
    """The saved outputs of the rows where every named column has that value, by variant."""
    found = {}
    for result in results:
        if result.task == task and len(result.outputs):
            rows = result.rows[result.rows["kept"]]
            chosen = (rows[list(wanted)] == pd.Series(wanted)).all(axis=1).tolist()
            found[result.variant] = result.outputs[torch.tensor(chosen)]
    return found
