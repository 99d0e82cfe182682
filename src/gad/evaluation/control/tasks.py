"""The `control` stage: the tasks that a recipe names, for the teacher and every student at the same noises.

Results are cached model by model (:mod:`gad.evaluation.jobs`), so that a killed stage resumes, and other processes can
precompute them.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from gad.config import ControlConfig, Recipe
from gad.evaluation.control import diversity, noise_optimisation, noise_query
from gad.evaluation.control.layout import layout
from gad.evaluation.control.task_results import TaskResult
from gad.evaluation.jobs import Job, files_in_settings, precompute_jobs, results_of_jobs
from gad.models.model import Model
from gad.models.sampler import NamedStudent, Sampler, all_samplers
from gad.models.stage import Stage
from gad.models.weights_hash import model_key
from gad.runtime.cache import Result
from gad.runtime.fingerprint import stage_cache_key
from gad.runtime.paths import EMOJI

TASKS = {
    "diversity": diversity,
    "noise_query": noise_query,
    "noise_optimisation": noise_optimisation,
    "layout": layout,
}

SHOWN = 8  # prompts whose images are saved: at 512 px those of all would be gigabytes a model


def _task_key(name: str, teacher: Sampler, settings: Recipe) -> str:
    """A fingerprint of what decides a task's results, besides the evaluated model."""
    control, evaluators = settings.control, EMOJI / "evaluators"
    section = getattr(control, name).model_dump(exclude={"batch_size", "recompute"})  # no result depends on them
    asked = (name, section, control.seed, control.clip)
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


def all_control_results(stage: Stage[ControlConfig]) -> list[TaskResult]:
    """The result of each task of the recipe for the teacher and every student."""
    steps = run_tasks(stage.teacher, stage.models, stage.settings, cache_dir=stage.cache)
    total = len(stage.section.tasks) * (1 + len(stage.models))
    return list(tqdm(steps, total=total, desc="tasks", mininterval=2))
