"""What stages `sensitivity` and `fidelity` measure model by model, the teacher first: optional sections, each a job.

:mod:`gad.evaluation.sensitivity.batches` is the counterpart for what is measured batch by batch of noises.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pandas as pd

from gad.config import PromptsConfig, Recipe
from gad.evaluation.jobs import Job, job_settings_files, results_of_jobs
from gad.models.model import Model
from gad.models.sampler import NamedStudent, Sampler, samplers_of_models
from gad.models.weights_hash import model_weights_key
from gad.runtime.cache import Result
from gad.runtime.fingerprint import stage_fingerprint
from gad.runtime.paths import EMOJI


def per_model_section_key(name: str, teacher: Sampler, settings: Recipe) -> str:
    """A fingerprint of all that decides a section's results, beside the model that is evaluated."""
    config, prompts = settings.sensitivity, settings.noise_pairs.prompt_source
    # a batch's size changes no result beyond rounding, but for a classifier that learns by batches
    section = getattr(config, name).model_dump(exclude=set() if name == "seeds" else {"batch_size"})
    section |= {"evaluators": config.fidelity.scores if config.fidelity else {}, "dataset": settings.teacher.dataset}
    section["evaluators"] = {key: score.model_dump() for key, score in section["evaluators"].items()}
    section["captions"] = prompts.model_dump() if isinstance(prompts, PromptsConfig) else prompts
    by = (model_weights_key(teacher.model), teacher.num_steps, teacher.guidance_scale)
    evaluators = [folder for folder in [EMOJI / "evaluators"] if folder.exists()]
    return stage_fingerprint(
        "sensitivity" if name == "seeds" else "fidelity", name, section, *by, *job_settings_files(section), *evaluators
    )


def measured_per_model(
    job_of: Callable[[Sampler, Recipe], Job],
    teacher: Model,
    students: Iterable[NamedStudent],
    settings: Recipe,
    cache_dir: Path | None,
) -> Iterator[Result]:
    """Yield each model's tables of a job, the teacher's first, with its variant and seed.

    Results are cached in the folder ``cache_dir``, where it is given, and those found there are read.
    """
    models = samplers_of_models(teacher, students, settings.sampling)
    for _, sampler, found in results_of_jobs([job_of(models[0], settings)], models, cache_dir):
        tables = {key: rows for key, rows in found.items() if isinstance(rows, pd.DataFrame)}
        yield {key: rows.assign(variant=sampler.name, seed=sampler.seed) for key, rows in tables.items()}
