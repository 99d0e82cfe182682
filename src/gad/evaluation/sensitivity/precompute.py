"""The `sensitivity` stage's work distributed over several processes, so that its notebook finds it cached."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from gad.config import Recipe
from gad.evaluation.jobs import precompute_jobs
from gad.evaluation.sensitivity.batches import At, Comparison, sensitivity_batch_rows, sensitivity_batches_folder
from gad.evaluation.sensitivity.end_to_end import EXTERNAL, SAMPLES, end_to_end_at
from gad.evaluation.sensitivity.per_noise_level import NOISE_LEVELS, noise_levels_at
from gad.evaluation.sensitivity.responses import Steps
from gad.evaluation.sensitivity.seed_identification import seed_identification_evaluation
from gad.evaluation.sensitivity.trajectory import TRAJECTORY, deviations_at
from gad.models.external import as_external
from gad.models.external_sampler import ExternalSampler
from gad.models.model import Model
from gad.models.sampler import NamedStudent, samplers_of_models
from gad.runtime.distributed import distributed_wait_until, rank_and_world_size


def precompute_sensitivity(
    teacher: Model, students: Iterable[NamedStudent], settings: Recipe, *, cache_dir: Path
) -> Iterator[str]:
    """Cache this process's share of the stage's measurements in ``cache_dir``; yield a line for each result."""
    students = list(students)
    ours = [named for named in students if not isinstance(named[2].denoiser, ExternalSampler)]
    theirs = [named for named in students if isinstance(named[2].denoiser, ExternalSampler)]
    everything = Comparison(teacher, students, settings.sensitivity, settings.sampling)
    compared = replace(everything, students=ours)
    yield from precompute_batches(SAMPLES, end_to_end_at, compared, cache_dir)
    yield from precompute_batches(NOISE_LEVELS, noise_levels_at, compared, cache_dir)
    yield from precompute_batches(TRAJECTORY, deviations_at, everything, cache_dir, derivatives=False)
    if theirs:
        whole = as_external(settings)
        compared = Comparison(teacher, theirs, whole.sensitivity, whole.sampling)
        yield from precompute_batches(EXTERNAL, end_to_end_at, compared, cache_dir)
    if settings.sensitivity.seeds:
        models = samplers_of_models(teacher, students, settings.sampling)
        yield from precompute_jobs([seed_identification_evaluation(models[0], settings)], models, cache_dir)


def precompute_batches(
    name: str, at: At, compared: Comparison, cache_dir: Path, *, derivatives: bool = True
) -> Iterator[str]:
    """Cache this process's share of the batches in ``cache_dir``, and yield a line for each.

    Exact ``derivatives`` wait for the first batch, which chooses the steps of maps that have no forward mode.
    """
    (rank, processes), batches = rank_and_world_size(), compared.batches
    steps: Steps = {}
    folder = sensitivity_batches_folder(name, compared, cache_dir)
    first = folder / str(batches[0].start)
    for number in range(rank, len(batches), processes):
        ids = batches[number]
        if number and derivatives and compared.config.method == "exact":
            distributed_wait_until(first.exists)
            list(sensitivity_batch_rows(first, steps, lambda: iter(())))
        list(sensitivity_batch_rows(folder / str(ids.start), steps, partial(at, ids, compared, steps)))
        yield f"{name}: batch {number + 1} of {len(batches)}"
