"""The `fidelity` stage's work shared out over several processes, before its notebook finds it done."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from gad.config import Recipe
from gad.evaluation.fidelity.fidelity import fidelity_job
from gad.evaluation.fidelity.inversion import inversion_job
from gad.evaluation.fidelity.negative_prompts import negative_prompts_job
from gad.evaluation.jobs import precompute
from gad.models.model import Model
from gad.models.sampler import NamedStudent, all_models

JOBS = {"fidelity": [fidelity_job], "sister": [inversion_job, negative_prompts_job]}
"""What makes the jobs of each optional section, from the teacher and the recipe."""


def precompute_fidelity(
    teacher: Model, students: Iterable[NamedStudent], settings: Recipe, *, parts: Path
) -> Iterator[str]:
    """Do this process's share of what the stage measures, keep it in ``parts``, and yield a line for each part."""
    models = all_models(teacher, students, settings.sampling)
    asked = [job for section, jobs in JOBS.items() if getattr(settings.sensitivity, section) for job in jobs]
    yield from precompute([job(models[0], settings) for job in asked], models, parts)
