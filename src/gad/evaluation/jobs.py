"""Results kept model by model as they come: several processes make them ahead, and a killed stage goes on from them.

A :class:`Job` is asked of every model of a recipe, the teacher first. What it answers lies in a folder of its own,
under a name that depends on all that decides it, and is read back from there even by who has just made it: so a stage
sees the same bits whoever made them.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gad.models.sampler import Sampler
from gad.models.weights_hash import model_key
from gad.runtime.cache import Keep, Result, at_once
from gad.runtime.distributed import lock_together, place
from gad.runtime.fingerprint import fingerprint
from gad.runtime.paths import ROOT


def names_of(all_models: Sequence[Sampler]) -> list[str]:
    """A name for each model's results, the teacher first: of it, its weights and how it is sampled.

    The first model of a variant has another name than it would have as a later one, since more may be kept of it.
    """
    names, seen = [], set()
    for number, sampler in enumerate(all_models):
        teacher = all_models[0].model if number else None
        decides = (model_key(sampler.model, teacher=teacher), sampler.num_steps, sampler.guidance_scale)
        names.append(f"{sampler.name}_{sampler.seed}_{fingerprint(*decides, sampler.name in seen)}")
        seen.add(sampler.name)
    return names


def files_in(values) -> list[Path]:
    """The files and folders that a section's plain values name, from the project's root, for a fingerprint."""
    if isinstance(values, dict):
        values = list(values.values())
    if isinstance(values, list):
        return [path for value in values for path in files_in(value)]
    return [ROOT / values] if isinstance(values, str) and values and os.path.exists(ROOT / values) else []


@dataclass(frozen=True)
class Job:
    """What is asked of every model: ``run(sampler, inputs)``, where ``prepare(keep)`` makes what all models share.

    ``cache_key()`` is a fingerprint of all that decides the answers beside the model asked. Of what is shared, ``keep``
    keeps what is costly to make.
    """

    name: str
    cache_key: Callable[[], str]
    prepare: Callable[[Keep], Any]
    run: Callable[[Sampler, Any], Result]


@dataclass(frozen=True)
class Answers:
    """A job's answers: had by model and name, and the inputs that all models share, made once when first asked for."""

    job: Job
    keep: Keep
    inputs: Callable[[], Any]

    def __call__(self, sampler: Sampler, name: str) -> Result:
        return self.keep(name, lambda: self.job.run(sampler, self.inputs()))

    def lack(self, names: Sequence[str]) -> bool:
        """Whether one of those models has not answered yet."""
        assert self.keep.folder is not None
        return not all((self.keep.folder / name).exists() for name in names)


def answers(job: Job, folder: Path | None = None, *, wait: bool = False) -> Answers:
    """A job's answers, from ``folder`` where they lie there, else made and kept.

    With ``wait`` what is shared is made by another process. Answers to a job of another cache key are thrown away.
    """
    if folder is None:
        return Answers(job, at_once, cache(lambda: job.prepare(at_once)))
    own, cache_key = folder / job.name, job.cache_key()
    lock_together(own, cache_key)
    return Answers(job, Keep(own), cache(lambda: job.prepare(Keep(own / "shared", wait))))


def results(
    jobs: Sequence[Job], all_models: Sequence[Sampler], folder: Path | None
) -> Iterator[tuple[Job, Sampler, Result]]:
    """Yield every model's answer to each job in turn, from ``folder`` where it lies there; None keeps nothing."""
    names = [sampler.name for sampler in all_models] if folder is None else names_of(all_models)
    for job in jobs:
        answer = answers(job, folder)
        for sampler, name in zip(all_models, names, strict=True):
            yield job, sampler, answer(sampler, name)


def precompute(jobs: Sequence[Job], all_models: Sequence[Sampler], folder: Path) -> Iterator[str]:
    """Keep this process's share of the answers in ``folder``, and yield a line for each.

    All processes make what is shared together; then the answers are dealt out, the teacher's first.
    """
    rank, processes = place()
    names = names_of(all_models)
    asked = [answers(job, folder, wait=number % processes != rank) for number, job in enumerate(jobs)]
    for of_job in asked:
        if of_job.lack(names):
            of_job.inputs()
    order = [(number, 0) for number in range(len(jobs))]
    order += [(number, model) for number in range(len(jobs)) for model in range(1, len(all_models))]
    for number, model in order[rank::processes]:
        asked[number](all_models[model], names[model])
        yield f"{jobs[number].name}: {all_models[model].name}, seed {all_models[model].seed}"
