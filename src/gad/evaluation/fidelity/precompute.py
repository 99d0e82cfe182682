"""The `fidelity` stage's work shared out over several processes, before its notebook finds it done."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from gad.config import Recipe
from gad.evaluation.fidelity.fidelity import fidelity_job
from gad.evaluation.fidelity.negative_prompts import sister_job
from gad.evaluation.jobs import make_ahead
from gad.models.model import Model
from gad.models.sampler import NamedStudent, everyone

JOBS = {"fidelity": fidelity_job, "sister": sister_job}


def precompute_fidelity(
    teacher: Model, students: Iterable[NamedStudent], settings: Recipe, *, parts: Path
) -> Iterator[str]:
    """Do this process's share of what the stage measures, keep it in ``parts``, and yield a line for each part."""
    models = everyone(teacher, students, settings)
    jobs = [job(models[0], settings) for name, job in JOBS.items() if getattr(settings.sensitivity, name)]
    yield from make_ahead(jobs, models, parts)
