"""The `sensitivity` stage's work shared out over several processes, before its notebook finds it done."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from gad.config import Recipe
from gad.evaluation.jobs import precompute
from gad.evaluation.sensitivity.batches import precompute_batches
from gad.evaluation.sensitivity.end_to_end import EXTERNAL, SAMPLES, responses_at
from gad.evaluation.sensitivity.fidelity import fidelity_job
from gad.evaluation.sensitivity.negative_prompts import sister_job
from gad.evaluation.sensitivity.per_noise_level import NOISE_LEVELS, noise_levels_at
from gad.evaluation.sensitivity.seed_identification import seeds_job
from gad.evaluation.sensitivity.trajectory import TRAJECTORY, deviations_at
from gad.models.external import as_external
from gad.models.external_sampler import ExternalSampler
from gad.models.model import Model
from gad.models.sampler import NamedStudent, all_models


def precompute_sensitivity(
    teacher: Model, students: Iterable[NamedStudent], settings: Recipe, *, parts: Path
) -> Iterator[str]:
    """Do this process's share of what the stage measures, keep it in ``parts``, and yield a line for each part."""
    students = list(students)
    ours = [named for named in students if not isinstance(named[2].denoiser, ExternalSampler)]
    theirs = [named for named in students if isinstance(named[2].denoiser, ExternalSampler)]
    yield from precompute_batches(SAMPLES, responses_at, teacher, ours, settings, parts)
    yield from precompute_batches(NOISE_LEVELS, noise_levels_at, teacher, ours, settings, parts)
    yield from precompute_batches(TRAJECTORY, deviations_at, teacher, students, settings, parts, derivatives=False)
    if theirs:
        yield from precompute_batches(EXTERNAL, responses_at, teacher, theirs, as_external(settings), parts)
    yield from precompute_jobs(teacher, students, settings, parts=parts)


JOBS = {"seeds": seeds_job, "fidelity": fidelity_job, "sister": sister_job}


def precompute_jobs(
    teacher: Model, students: Iterable[NamedStudent], settings: Recipe, *, parts: Path
) -> Iterator[str]:
    """Do this process's share of these parts of the stage, keep it in ``parts``, and yield a line for each."""
    models = all_models(teacher, students, settings)
    jobs = [job(models[0], settings) for name, job in JOBS.items() if getattr(settings.sensitivity, name)]
    yield from precompute(jobs, models, parts)
