"""Results cached model by model: several processes can precompute them, and a killed stage resumes from them.

A :class:`Job` runs for every model of a recipe, the teacher first. Each result is cached in a folder of its own, under
a name that depends on all that decides it. It is read back from there even by the process that has just computed it, so
a stage sees the same bits whoever made them. What takes long for a single model is made in parts, cached likewise.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from gad.models.sampler import Sampler
from gad.models.weights_hash import model_weights_key
from gad.runtime.cache import Parts, Result, ResultCache, at_once, is_whole_result
from gad.runtime.distributed import distributed_folder_lock, rank_and_world_size
from gad.runtime.fingerprint import fingerprint
from gad.runtime.paths import project_path

PARTS = "parts"  # the folder of results that are not whole yet


def job_names_of_models(all_models: Sequence[Sampler]) -> list[str]:
    """A name for each model's results, the teacher first: of it, its weights and how it is sampled.

    The first model of a variant has another name than it would have as a later one, since more of it may be cached.
    """
    names, seen = [], set()
    for number, sampler in enumerate(all_models):
        teacher = all_models[0].model if number else None
        decides = (model_weights_key(sampler.model, teacher=teacher), sampler.num_steps, sampler.guidance_scale)
        names.append(f"{sampler.name}_{sampler.seed}_{fingerprint(*decides, sampler.name in seen)}")
        seen.add(sampler.name)
    return names


def job_settings_files(values) -> list[Path]:
    """The files and folders that a section's plain values name, from the project's root, for a fingerprint."""
    if isinstance(values, dict):
        values = list(values.values())
    if isinstance(values, list):
        return [path for value in values for path in job_settings_files(value)]
    if not (isinstance(values, str) and values):
        return []
    try:
        path = project_path(values)
    except ValueError:  # a prompt may begin with ~ as well
        return []
    return [path] if os.path.exists(path) else []


@dataclass(frozen=True)
class Job:
    """What every model is evaluated on: ``run(sampler, inputs)``; ``prepare(cached)`` makes what all models share.

    ``cache_key()`` is a fingerprint of all that decides the results besides the model. Of the shared inputs, ``cached``
    stores those that are costly to compute. With ``parts(sampler, inputs)`` it is ``run(sampler, inputs, made)``, with
    what the parts have given: processes share them, and a kill costs one of them.
    """

    name: str
    cache_key: Callable[[], str]
    prepare: Callable[[ResultCache], Any]
    run: Callable[..., Result]
    parts: Callable[[Sampler, Any], Parts] | None = None


@dataclass(frozen=True)
class JobResults:
    """A job's results by model and name, and the inputs that all models share, computed once at first use."""

    job: Job
    cached: ResultCache
    inputs: Callable[[], Any]

    def __call__(self, sampler: Sampler, name: str) -> Result:
        result = self.cached(name, lambda: self._run(sampler, name))
        if self.job.parts is not None and self.cached.folder is not None:
            shutil.rmtree(self.cached.folder / PARTS / name, ignore_errors=True)
        return result

    def _run(self, sampler: Sampler, name: str) -> Result:
        inputs = self.inputs()
        if self.job.parts is None:
            return self.job.run(sampler, inputs)
        return self.job.run(sampler, inputs, self._of_parts(name).every(self.job.parts(sampler, inputs)))

    def share(self, sampler: Sampler, name: str) -> None:
        """Make this process's share of a model's parts while its result is missing.

        In a launch that is started again another process may find all parts there, and delete them meanwhile.
        """
        assert self.job.parts is not None
        if not self.lack([name]):
            return
        try:
            for _ in self._of_parts(name).share(self.job.parts(sampler, self.inputs())):
                if not self.lack([name]):
                    return
        except FileNotFoundError:
            if self.lack([name]):
                raise

    def _of_parts(self, name: str) -> ResultCache:
        return at_once if self.cached.folder is None else ResultCache(self.cached.folder / PARTS / name)

    def lack(self, names: Sequence[str]) -> bool:
        """Whether the result of one of those models is missing."""
        assert self.cached.folder is not None
        return not all(is_whole_result(self.cached.folder / name) for name in names)


def _job_results(job: Job, folder: Path | None = None, *, wait: bool = False) -> JobResults:
    """A job's results, read from ``folder`` where they are cached, else computed and cached there.

    With ``wait`` the shared inputs are computed by another process. Results of another cache key are deleted.
    """
    if folder is None:
        return JobResults(job, at_once, cache(lambda: job.prepare(at_once)))
    own, cache_key = folder / job.name, job.cache_key()
    distributed_folder_lock(own, cache_key)
    return JobResults(job, ResultCache(own), cache(lambda: job.prepare(ResultCache(own / "shared", wait))))


def results_of_jobs(
    jobs: Sequence[Job], all_models: Sequence[Sampler], folder: Path | None
) -> Iterator[tuple[Job, Sampler, Result]]:
    """Yield every model's result of each job in turn, from ``folder`` where it is cached; None caches nothing."""
    names = [sampler.name for sampler in all_models] if folder is None else job_names_of_models(all_models)
    for job in jobs:
        result_of = _job_results(job, folder)
        for sampler, name in zip(all_models, names, strict=True):
            yield job, sampler, result_of(sampler, name)


def precompute_jobs(jobs: Sequence[Job], all_models: Sequence[Sampler], folder: Path) -> Iterator[str]:
    """Cache this process's share of the results in ``folder``, and yield a line for each.

    All processes compute the shared inputs together. Of jobs with parts they then make model after model together, and
    one of them puts a model's parts together; the models of other jobs are distributed, the teacher's first.
    """
    rank, processes = rank_and_world_size()
    names = job_names_of_models(all_models)
    of_jobs = [_job_results(job, folder, wait=number % processes != rank) for number, job in enumerate(jobs)]
    for of_job in of_jobs:
        if of_job.lack(names):
            of_job.inputs()
    shared = [of_job for of_job in of_jobs if of_job.job.parts is not None]
    for number, (of_job, model) in enumerate(product(shared, range(len(names)))):
        of_job.share(all_models[model], names[model])
        if number % processes == rank:
            of_job(all_models[model], names[model])
        yield _line(of_job.job, all_models[model])
    alone = [of_job for of_job in of_jobs if of_job.job.parts is None]
    order = [*product(alone, [0]), *product(alone, range(1, len(names)))]
    for of_job, model in order[rank::processes]:
        of_job(all_models[model], names[model])
        yield _line(of_job.job, all_models[model])


def _line(job: Job, sampler: Sampler) -> str:
    return f"{job.name}: {sampler.name}, seed {sampler.seed}"
