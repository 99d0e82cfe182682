"""The `fidelity` stage's work distributed over several processes, so that its notebook finds it cached."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from gad.config import Recipe
from gad.evaluation.fidelity.fidelity import fidelity_evaluation
from gad.evaluation.fidelity.inversion import inversion_evaluation
from gad.evaluation.fidelity.negative_prompts import negative_prompts_evaluation
from gad.evaluation.jobs import precompute_jobs
from gad.models.model import Model
from gad.models.sampler import NamedStudent, samplers_of_models

JOBS = {
    "fidelity": fidelity_evaluation,
    "inversion": inversion_evaluation,
    "negative_prompts": negative_prompts_evaluation,
}
"""What makes the job of each optional section, from the teacher and the recipe."""


def precompute_fidelity(
    teacher: Model, students: Iterable[NamedStudent], settings: Recipe, *, cache_dir: Path
) -> Iterator[str]:
    """Cache this process's share of the stage's measurements in ``cache_dir``; yield a line for each result."""
    models = samplers_of_models(teacher, students, settings.sampling)
    jobs = [job_of(models[0], settings) for name, job_of in JOBS.items() if getattr(settings.sensitivity, name)]
    yield from precompute_jobs(jobs, models, cache_dir)
