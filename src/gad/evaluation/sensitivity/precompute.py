"""The `sensitivity` stage's work distributed over several processes, so that its notebook finds it cached."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from gad.config import Recipe
from gad.evaluation.jobs import precompute_jobs
from gad.evaluation.sensitivity.batches import Comparison, precompute_batches
from gad.evaluation.sensitivity.end_to_end import EXTERNAL, SAMPLES, end_to_end_batch
from gad.evaluation.sensitivity.per_noise_level import NOISE_LEVELS, noise_levels_at
from gad.evaluation.sensitivity.seed_identification import seeds_job
from gad.evaluation.sensitivity.trajectory import TRAJECTORY, deviations_at
from gad.models.external import as_external
from gad.models.external_sampler import ExternalSampler
from gad.models.model import Model
from gad.models.sampler import NamedStudent, all_samplers


def precompute_sensitivity(
    teacher: Model, students: Iterable[NamedStudent], settings: Recipe, *, cache_dir: Path
) -> Iterator[str]:
    """Cache this process's share of the stage's measurements in ``cache_dir``; yield a line for each result."""
    students = list(students)
    ours = [named for named in students if not isinstance(named[2].denoiser, ExternalSampler)]
    theirs = [named for named in students if isinstance(named[2].denoiser, ExternalSampler)]
    everything = Comparison(teacher, students, settings.sensitivity, settings.sampling)
    compared = replace(everything, students=ours)
    yield from precompute_batches(SAMPLES, end_to_end_batch, compared, cache_dir)
    yield from precompute_batches(NOISE_LEVELS, noise_levels_at, compared, cache_dir)
    yield from precompute_batches(TRAJECTORY, deviations_at, everything, cache_dir, derivatives=False)
    if theirs:
        whole = as_external(settings)
        compared = Comparison(teacher, theirs, whole.sensitivity, whole.sampling)
        yield from precompute_batches(EXTERNAL, end_to_end_batch, compared, cache_dir)
    if settings.sensitivity.seeds:
        models = all_samplers(teacher, students, settings.sampling)
        yield from precompute_jobs([seeds_job(models[0], settings)], models, cache_dir)
