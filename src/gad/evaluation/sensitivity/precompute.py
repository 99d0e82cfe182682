"""The `sensitivity` stage's work shared out over several processes, before its notebook finds it done."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from gad.config import Recipe
from gad.evaluation.jobs import make_ahead
from gad.evaluation.sensitivity.batches import batches_ahead
from gad.evaluation.sensitivity.end_to_end import OUTSIDE, SAMPLES, responses_at
from gad.evaluation.sensitivity.per_noise_level import LEVELS_KEPT, levels_at
from gad.evaluation.sensitivity.seed_identification import seeds_job
from gad.evaluation.sensitivity.trajectory import TRAJECTORY, deviations_at
from gad.models.external import as_whole_maps
from gad.models.external_sampler import WholeMap
from gad.models.model import Model
from gad.models.sampler import NamedStudent, everyone


def precompute_sensitivity(
    teacher: Model, students: Iterable[NamedStudent], settings: Recipe, *, parts: Path
) -> Iterator[str]:
    """Do this process's share of what the stage measures, keep it in ``parts``, and yield a line for each part."""
    students = list(students)
    ours = [named for named in students if not isinstance(named[2].denoiser, WholeMap)]
    theirs = [named for named in students if isinstance(named[2].denoiser, WholeMap)]
    yield from batches_ahead(SAMPLES, responses_at, teacher, ours, settings, parts)
    yield from batches_ahead(LEVELS_KEPT, levels_at, teacher, ours, settings, parts)
    yield from batches_ahead(TRAJECTORY, deviations_at, teacher, students, settings, parts, derivatives=False)
    if theirs:
        yield from batches_ahead(OUTSIDE, responses_at, teacher, theirs, as_whole_maps(settings), parts)
    if settings.sensitivity.seeds:
        models = everyone(teacher, students, settings)
        yield from make_ahead([seeds_job(models[0], settings)], models, parts)
