"""Results kept model by model as they come: several processes make them ahead, and a killed stage goes on from them.

A :class:`Job` is asked of every model of a recipe, the teacher first. What it answers lies in a folder of its own,
under a name that hangs on all that decides it, and is read back from there even by who has just made it: so a stage
sees the same bits whoever made them.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import torch
from pyarrow import parquet as pq
from torch import Tensor

from gad.actor import Actor
from gad.artifacts import ROOT, fingerprint, read_tensors, replacing, stage_dir, write_tensors
from gad.identity import identity_of
from gad.processes import claim_together, place, wait_until

TENSORS = "tensors.safetensors"

Result = dict[str, pd.DataFrame | Tensor]
"""Tables and tensors by name."""


def parts_dir(recipe: str, stage: str) -> Path:
    """Where a recipe's stage keeps what it has done so far; no output of the stage."""
    return stage_dir(recipe, "live", "parts", stage)


def write_result(path: Path, result: Result) -> None:
    """Write a folder with a file per table and one for all tensors, whole or not at all."""
    with replacing(path) as partial:
        partial.mkdir()
        for name, value in result.items():
            if isinstance(value, pd.DataFrame):
                value.to_parquet(partial / f"{name}.parquet")
        write_tensors(partial / TENSORS, {name: value for name, value in result.items() if isinstance(value, Tensor)})


def read_result(path: Path) -> Result:
    """What :func:`write_result` wrote; lists in tables are lists again. Tensors are memory-mapped."""
    tables = {file.stem: _read_table(file) for file in sorted(path.glob("*.parquet"))}
    return tables | read_tensors(path / TENSORS)


def _read_table(path: Path) -> pd.DataFrame:
    table = pq.read_table(path)
    rows = table.to_pandas()
    for field in table.schema:
        if pa.types.is_list(field.type):  # pandas makes arrays of arrays of them
            rows[field.name] = pd.Series(table[field.name].to_pylist(), index=rows.index, dtype=object)
    return rows


@dataclass(frozen=True)
class Keep:
    """Gives what is named: made, kept in ``folder``, and read back from there; without a folder made alone.

    With ``wait`` nothing is made: another process makes it and is waited for.
    """

    folder: Path | None = None
    wait: bool = False

    def __call__(self, name: str, make: Callable[[], Result]) -> Result:
        if self.folder is None:
            return make()
        path = self.folder / name
        if self.wait:
            wait_until(path.exists)
        elif not path.exists():
            write_result(path, make())
        return read_result(path)

    def each(self, name: str, makes: Sequence[Callable[[], Result]]) -> list[Result]:
        """All of them, dealt out over the processes, which have to come here all."""
        if self.folder is None:
            return [make() for make in makes]
        rank, processes = place()
        for number in range(rank, len(makes), processes):
            Keep(self.folder)(f"{name}_{number}", makes[number])
        others = Keep(self.folder, wait=True)
        return [others(f"{name}_{number}", make) for number, make in enumerate(makes)]

    def batches(self, name: str, count: int, size: int, make: Callable[[Tensor], Result]) -> list[Result]:
        """``make`` of the numbers below ``count``, ``size`` of them at a time, as :meth:`each` deals them out.

        What was kept in parts of another size is not mixed in.
        """
        return self.each(f"{name}_{size}", [partial(make, part) for part in torch.arange(count).split(size)])


at_once = Keep()


def names_of(everyone: Sequence[Actor]) -> list[str]:
    """A name for each model's results, the teacher first: of it, its weights and how it is sampled.

    The first model of a variant has another name than it would have as a later one, since more may be kept of it.
    """
    names, seen = [], set()
    for number, actor in enumerate(everyone):
        teacher = everyone[0].model if number else None
        decides = (identity_of(actor.model, teacher=teacher), actor.num_steps, actor.guidance_scale)
        names.append(f"{actor.name}_{actor.seed}_{fingerprint(*decides, actor.name in seen)}")
        seen.add(actor.name)
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
    """What is asked of every model: ``run(actor, inputs)``, where ``prepare(keep)`` makes what all models share.

    ``owner()`` is a fingerprint of all that decides the answers beside the model asked. Of what is shared, ``keep``
    keeps what is costly to make.
    """

    name: str
    owner: Callable[[], str]
    prepare: Callable[[Keep], Any]
    run: Callable[[Actor, Any], Result]


@dataclass(frozen=True)
class Answers:
    """A job's answers: had by model and name, and the inputs that all models share, made once when first asked for."""

    job: Job
    keep: Keep
    inputs: Callable[[], Any]

    def __call__(self, actor: Actor, name: str) -> Result:
        return self.keep(name, lambda: self.job.run(actor, self.inputs()))

    def lack(self, names: Sequence[str]) -> bool:
        """Whether one of those models has not answered yet."""
        return not all((self.keep.folder / name).exists() for name in names)


def answers(job: Job, folder: Path | None = None, *, wait: bool = False) -> Answers:
    """A job's answers, from ``folder`` where they lie there, else made and kept.

    With ``wait`` what is shared is made by another process. Answers to a job of another owner are thrown away.
    """
    if folder is None:
        return Answers(job, at_once, cache(lambda: job.prepare(at_once)))
    own, owner = folder / job.name, job.owner()
    claim_together(own, owner)
    return Answers(job, Keep(own), cache(lambda: job.prepare(Keep(own / "shared", wait))))


def results(jobs: Sequence[Job], everyone: Sequence[Actor], folder: Path | None) -> Iterator[tuple[Job, Actor, Result]]:
    """Yield every model's answer to each job in turn, from ``folder`` where it lies there; None keeps nothing."""
    names = [actor.name for actor in everyone] if folder is None else names_of(everyone)
    for job in jobs:
        answer = answers(job, folder)
        for actor, name in zip(everyone, names, strict=True):
            yield job, actor, answer(actor, name)


def make_ahead(jobs: Sequence[Job], everyone: Sequence[Actor], folder: Path) -> Iterator[str]:
    """Keep this process's share of the answers in ``folder``, and yield a line for each.

    All processes make what is shared together; then the answers are dealt out, the teacher's first.
    """
    rank, processes = place()
    names = names_of(everyone)
    asked = [answers(job, folder, wait=number % processes != rank) for number, job in enumerate(jobs)]
    for of_job in asked:
        if of_job.lack(names):
            of_job.inputs()
    order = [(number, 0) for number in range(len(jobs))]
    order += [(number, model) for number in range(len(jobs)) for model in range(1, len(everyone))]
    for number, model in order[rank::processes]:
        asked[number](everyone[model], names[model])
        yield f"{jobs[number].name}: {everyone[model].name}, seed {everyone[model].seed}"
