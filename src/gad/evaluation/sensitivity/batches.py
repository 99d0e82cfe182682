"""Measurements batch by batch of noises, for every student at once, cached as they are made.

So memory does not grow with the noises, the teacher is sampled once for each batch, a killed stage resumes from the
batches that are done, and several processes can precompute them. :mod:`gad.evaluation.jobs` does it model by model.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from gad.config import Sampling, SensitivityConfig
from gad.data.prompts import prompt_of
from gad.evaluation.sensitivity.analysis_noise import analysis_id_batches, analysis_ids, check_analysis_student
from gad.evaluation.sensitivity.responses import Steps
from gad.models.model import Model
from gad.models.sampler import NamedStudent
from gad.models.weights_hash import model_weights_key
from gad.runtime.cache import read_cached_result, write_cached_result
from gad.runtime.distributed import distributed_folder_lock
from gad.runtime.fingerprint import stage_fingerprint

MODEL = ("variant", "seed", "directions", "t")  # columns that tell one table of a batch from the next


@dataclass(frozen=True)
class Comparison:
    """Students beside their teacher: at which noises and directions, and how all are sampled."""

    teacher: Model
    students: list[NamedStudent]
    config: SensitivityConfig
    sampling: Sampling

    @property
    def batches(self) -> list[range]:
        """The sample ids of the analysis, ``batch_size`` at a time."""
        return analysis_id_batches(analysis_ids(self.config), self.config.batch_size)


At = Callable[[range, Comparison, Steps], Iterator[pd.DataFrame]]
"""Yields the rows of a batch of noises; steps of differences are chosen in the first batch and used for the others."""


def sensitivity_batches_key(name: str, compared: Comparison) -> str:
    """A fingerprint of all that decides the rows."""
    teacher, config, sampling = compared.teacher, compared.config, compared.sampling
    others = {"device", "seeds", "fidelity", "negative_prompts", "inversion", "num_spectra", "num_singular"}
    section = config.model_dump(exclude=others)
    sampled = (sampling.teacher_steps, sampling.guidance_scale, sampling.student_steps)
    prompts = prompt_of(analysis_ids(config), sampling.prompts)
    models = [(variant, seed, model_weights_key(model, teacher=teacher)) for variant, seed, model in compared.students]
    return stage_fingerprint("sensitivity", name, section, sampled, prompts, model_weights_key(teacher), models)


def sensitivity_batches_folder(name: str, compared: Comparison, cache_dir: Path) -> Path:
    """The folder of the cached batches; those of another key are deleted."""
    folder = cache_dir / name
    distributed_folder_lock(folder, sensitivity_batches_key(name, compared))
    return folder


def sensitivity_batch_rows(
    path: Path | None, steps: Steps, make: Callable[[], Iterator[pd.DataFrame]]
) -> Iterator[pd.DataFrame]:
    """What ``make`` yields, cached in ``path`` with the steps; read back, in the same tables, where it is cached."""
    if path is None:
        yield from make()
        return
    if not path.exists():
        found = []
        for rows in make():
            found.append(rows)
            yield rows
        chosen = pd.DataFrame({"map": list(steps), "h": list(steps.values())})
        write_cached_result(path, {"rows": pd.concat(found, ignore_index=True), "steps": chosen})
        return
    cached = read_cached_result(path)
    table, chosen = cached["rows"], cached["steps"]
    assert isinstance(table, pd.DataFrame) and isinstance(chosen, pd.DataFrame)
    steps.update(zip(chosen["map"], chosen["h"], strict=True))
    names = [name for name in MODEL if name in table]
    yield from (rows for _, rows in table.groupby(names, sort=False))


def measured_in_batches(name: str, at: At, compared: Comparison, cache_dir: Path | None) -> Iterator[pd.DataFrame]:
    """Yield the rows of every batch in turn, from the folder ``cache_dir`` where they are cached; None caches nothing.

    Raises ValueError, in one line, for a student of another latent shape than the teacher's.
    """
    steps: Steps = {}
    for variant, seed, student in compared.students:
        check_analysis_student(f"{variant} (seed {seed})", student, compared.teacher)
    folder = None if cache_dir is None else sensitivity_batches_folder(name, compared, cache_dir)
    for ids in compared.batches:
        path = None if folder is None else folder / str(ids.start)
        yield from sensitivity_batch_rows(path, steps, partial(at, ids, compared, steps))
