"""The `sensitivity` stage's work shared out over several processes, before its notebook finds it done."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from gad.config import Recipe
from gad.evaluation.jobs import precompute
from gad.evaluation.sensitivity.batches import Comparison, precompute_batches
from gad.evaluation.sensitivity.end_to_end import EXTERNAL, SAMPLES, responses_at
from gad.evaluation.sensitivity.fidelity import fidelity_job
from gad.evaluation.sensitivity.inversion import inversion_job
from gad.evaluation.sensitivity.negative_prompts import negative_prompts_job
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
    everything = Comparison(teacher, students, settings.sensitivity, settings.sampling)
    compared = replace(everything, students=ours)
    yield from precompute_batches(SAMPLES, responses_at, compared, parts)
    yield from precompute_batches(NOISE_LEVELS, noise_levels_at, compared, parts)
    yield from precompute_batches(TRAJECTORY, deviations_at, everything, parts, derivatives=False)
    if theirs:
        whole = as_external(settings)
        compared = Comparison(teacher, theirs, whole.sensitivity, whole.sampling)
        yield from precompute_batches(EXTERNAL, responses_at, compared, parts)
    yield from precompute_sections(teacher, students, settings, parts=parts)


JOBS = {"seeds": [seeds_job], "fidelity": [fidelity_job], "sister": [inversion_job, negative_prompts_job]}
"""What makes the jobs of each optional section, from the teacher and the recipe."""


def precompute_sections(
    teacher: Model, students: Iterable[NamedStudent], settings: Recipe, *, parts: Path
) -> Iterator[str]:
    """As :func:`precompute_sensitivity`, of the recipe's optional sections alone."""
    models = all_models(teacher, students, settings.sampling)
    asked = [job for section, jobs in JOBS.items() if getattr(settings.sensitivity, section) for job in jobs]
    yield from precompute([job(models[0], settings) for job in asked], models, parts)
