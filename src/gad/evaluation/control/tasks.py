"""The `control` stage: the tasks that a recipe names, for the teacher and every student at the same noises.

Results are cached model by model (:mod:`gad.evaluation.jobs`), so that a killed stage resumes, and other processes can
precompute them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from gad.config import ControlConfig, Recipe
from gad.evaluation.control.composition.composition import (
    composition_parts,
    prepare_composition,
    run_composition,
    summarise_composition,
)
from gad.evaluation.control.diversity import prepare_diversity, run_diversity, summarise_diversity
from gad.evaluation.control.layout.layout import prepare_layout, run_layout, summarise_layout
from gad.evaluation.control.noise_optimisation import (
    prepare_noise_optimisation,
    run_noise_optimisation,
    summarise_noise_optimisation,
)
from gad.evaluation.control.noise_query import run_noise_query, summarise_noise_query
from gad.evaluation.control.noise_query_inputs import make_noise_query_library, prepare_noise_query
from gad.evaluation.control.task_output import SHOWN, TaskOutput
from gad.evaluation.control.task_results import TaskResult
from gad.evaluation.jobs import Job, job_settings_files, precompute_jobs, results_of_jobs
from gad.models.model import Model
from gad.models.sampler import NamedStudent, Sampler, samplers_of_models
from gad.models.stage import Stage
from gad.models.weights_hash import model_weights_key
from gad.runtime.cache import Parts, Result
from gad.runtime.fingerprint import stage_fingerprint
from gad.runtime.paths import EMOJI


@dataclass
class Task:
    """A control task: three functions of a module of its own.

    - ``prepare(teacher, settings, cached) -> inputs``: all that the models share, computed once; ``cached``, a
      :class:`gad.runtime.cache.ResultCache`, stores what is costly, so that it outlasts a kill and other processes read
      it;
    - ``run(sampler, inputs, config) -> TaskOutput``: one model's output, a row per sample; ``config`` is the task's
      sub-section;
    - ``summarise(rows) -> dict[str, float]``: the headline numbers of one model.

    A task that asks much of a model has ``parts(sampler, inputs, config)`` besides, and ``run`` gets what they have
    given as a fourth argument (:class:`gad.evaluation.jobs.Job`).

    A new task is one such file, its sub-section in ``config/`` and its entry in ``TASKS``.
    """

    prepare: Callable[..., Any]
    run: Callable[..., TaskOutput]
    summarise: Callable[[pd.DataFrame], dict[str, float]]
    parts: Callable[..., Parts] | None = None


TASKS = {
    "diversity": Task(prepare_diversity, run_diversity, summarise_diversity),
    "noise_query": Task(prepare_noise_query, run_noise_query, summarise_noise_query),
    "noise_optimisation": Task(prepare_noise_optimisation, run_noise_optimisation, summarise_noise_optimisation),
    "layout": Task(prepare_layout, run_layout, summarise_layout),
    "composition": Task(prepare_composition, run_composition, summarise_composition, composition_parts),
}


def _task_key(name: str, teacher: Sampler, settings: Recipe) -> str:
    """A fingerprint of what decides a task's results, besides the evaluated model."""
    control, evaluators = settings.control, EMOJI / "evaluators"
    section = getattr(control, name).model_dump(exclude={"batch_size", "recompute"})  # no result depends on them
    asked = (name, section, control.seed, control.clip, settings.noise_pairs.captions)
    by = (model_weights_key(teacher.model), teacher.num_steps, teacher.guidance_scale)
    read = [*job_settings_files([section, control.clip]), *([evaluators] if evaluators.exists() else [])]
    return stage_fingerprint("control", *asked, *by, *read)


def _jobs_of(models: list[Sampler], settings: Recipe) -> list[Job]:
    """Each task of the recipe, as every model runs it; the first of them is the teacher."""
    teacher = models[0]
    first: dict[str, Sampler] = {}
    for sampler in models:
        first.setdefault(sampler.name, sampler)

    def run(name: str, sampler: Sampler, inputs, *parts: Sequence[Result]) -> Result:
        made = TASKS[name].run(sampler, inputs, getattr(settings.control, name), *parts)
        kept = torch.full((len(made.rows),), first[sampler.name] is sampler)
        if made.outputs.ndim == 4:
            kept &= torch.tensor(made.rows["prompt"].to_numpy()) < SHOWN
        return {"rows": made.rows.assign(kept=kept.tolist()), "outputs": made.outputs[kept[: len(made.outputs)]]}

    def parts(name: str, sampler: Sampler, inputs) -> Parts:
        of_task = TASKS[name].parts
        assert of_task is not None
        return of_task(sampler, inputs, getattr(settings.control, name))

    return [
        Job(
            name,
            cache_key=partial(_task_key, name, teacher, settings),
            prepare=partial(TASKS[name].prepare, teacher, settings),
            run=partial(run, name),
            parts=partial(parts, name) if TASKS[name].parts else None,
        )
        for name in settings.control.tasks
    ]


def run_tasks(
    teacher: Model, students: Iterable[NamedStudent], settings: Recipe, *, cache_dir: Path | None = None
) -> Iterator[TaskResult]:
    """Yield the result of each task of the recipe for the teacher and each student.

    Results are cached in the folder ``cache_dir``, where it is given, and those found there are read.
    """
    models = samplers_of_models(teacher, students, settings.sampling, batch_size=settings.control.batch_size)
    for job, sampler, result in results_of_jobs(_jobs_of(models, settings), models, cache_dir):
        rows, outputs = result["rows"], result["outputs"]
        yield TaskResult(job.name, sampler.name, sampler.seed, rows, TASKS[job.name].summarise(rows), outputs)


def precompute_tasks(
    teacher: Model, students: Iterable[NamedStudent], settings: Recipe, *, cache_dir: Path
) -> Iterator[str]:
    """Cache this process's share of the results of :func:`run_tasks` in ``cache_dir``; yield a line for each."""
    models = samplers_of_models(teacher, students, settings.sampling, batch_size=settings.control.batch_size)
    if settings.control.noise_query:
        make_noise_query_library(models[0], settings)
    yield from precompute_jobs(_jobs_of(models, settings), models, cache_dir)


def run_all_tasks(stage: Stage[ControlConfig]) -> list[TaskResult]:
    """The result of each task of the recipe for the teacher and every student."""
    steps = run_tasks(stage.teacher, stage.models, stage.settings, cache_dir=stage.cache)
    total = len(stage.section.tasks) * (1 + len(stage.models))
    return list(tqdm(steps, total=total, desc="tasks", mininterval=2))
