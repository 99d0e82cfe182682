"""The `fidelity` stage's work distributed over several processes, so that its notebook finds it cached."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from gad.config import Recipe
from gad.evaluation.fidelity.fidelity import fidelity_job
from gad.evaluation.fidelity.inversion import inversion_job
from gad.evaluation.fidelity.negative_prompts import negative_prompts_job
from gad.evaluation.jobs import precompute_jobs
from gad.models.model import Model
from gad.models.sampler import NamedStudent, all_samplers

JOBS = {"fidelity": fidelity_job, "inversion": inversion_job, "negative_prompts": negative_prompts_job}
"""What makes the job of each optional section, from the teacher and the recipe."""


def precompute_fidelity(
    teacher: Model, students: Iterable[NamedStudent], settings: Recipe, *, cache_dir: Path
) -> Iterator[str]:
    """Cache this process's share of the stage's measurements in ``cache_dir``; yield a line for each result."""
    models = all_samplers(teacher, students, settings.sampling)
    jobs = [job_of(models[0], settings) for name, job_of in JOBS.items() if getattr(settings.sensitivity, name)]
    yield from precompute_jobs(jobs, models, cache_dir)
