"""The `sensitivity` stage: every student of a recipe against its teacher, at the same noises and directions.

The outer loop is over batches of noises (:mod:`gad.evaluation.sensitivity.batches`), the inner one over students:
only a batch's derivatives are held.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from gad.config import Recipe, SensitivityConfig
from gad.config.sample_ids import ANALYSIS
from gad.data.prompts import prompt_of
from gad.diffusion.jvp import Map
from gad.diffusion.maps import noise_to_image_map
from gad.evaluation.sensitivity.analysis_noise import analysis_noise
from gad.evaluation.sensitivity.batches import Comparison, measured_in_batches
from gad.evaluation.sensitivity.responses import (
    Steps,
    check_finite_responses,
    rows_of_responses,
    summarise_responses,
    value_and_responses,
)
from gad.models.model import Model
from gad.models.sampler import NamedStudent

SAMPLES, EXTERNAL = "samples", "external"  # names of the cached results


def _ways_of(config: SensitivityConfig) -> dict[str, SensitivityConfig]:
    """How a response is taken, by what that adds to the name of a kind of direction.

    A derivative says what the smallest step does; where the teacher jumps between images that is not what a step of
    the size of ``finite_step`` does.
    """
    if config.finite_step is None:
        return {"": config}
    finite = config.model_copy(update={"method": "difference", "perturbation_scale": config.finite_step})
    return {"": config, f", h = {config.finite_step:g}": finite}


def end_to_end_kinds(config: SensitivityConfig) -> list[str]:
    """The names of what is measured: each kind of direction in each way."""
    return [f"{kind}{way}" for way in _ways_of(config) for kind in config.directions]


def measure_end_to_end(
    teacher: Model,
    students: Iterable[NamedStudent],
    settings: Recipe,
    *,
    name: str = SAMPLES,
    cache_dir: Path | None = None,
) -> Iterator[pd.DataFrame]:
    """Yield, per batch of noises, student and entry of :func:`end_to_end_kinds`, a row per noise and direction.

    That is Table 1. Results depend neither on ``batch_size`` nor on the order of the students.
    In the folder ``cache_dir``, where it is given, batches are cached under ``name``, and those found there are not
    measured again. Raises ValueError, in one line, for a student of another latent shape and for outputs
    that are not finite.
    """
    compared = Comparison(teacher, list(students), settings.sensitivity, settings.sampling)
    yield from measured_in_batches(name, end_to_end_at, compared, cache_dir)


def end_to_end_at(ids: range, compared: Comparison, steps: Steps) -> Iterator[pd.DataFrame]:
    """:func:`measure_end_to_end` at one batch of noises."""
    teacher, config, sampling = compared.teacher, compared.config, compared.sampling
    guided, prompts = teacher.guided(sampling.guidance_scale), prompt_of(ids, sampling.prompts)
    of_teacher = noise_to_image_map(guided, teacher.condition(prompts), num_steps=sampling.teacher_steps)
    drawn: dict[str, tuple[Tensor, Tensor]] = {}
    for kind in config.directions:
        drawn[kind] = analysis_noise(teacher, config, kind, ids=ids, phi=of_teacher)[1:]
    references = dict(_responses_of("the teacher", of_teacher, ids, drawn, config, steps))
    for variant, seed, student in compared.students:
        phi = noise_to_image_map(student.denoiser, student.condition(prompts), num_steps=sampling.student_steps)
        for name, response in _responses_of(f"student {variant} (seed {seed})", phi, ids, drawn, config, steps):
            rows = rows_of_responses(response, references[name]).assign(variant=variant, seed=seed, directions=name)
            yield rows.assign(noise=rows["noise"] + ids.start - ANALYSIS)


def _responses_of(
    model: str, phi: Map, ids: range, drawn: dict[str, tuple[Tensor, Tensor]], config: SensitivityConfig, steps: Steps
) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    """A map's value and derivatives for each of :func:`end_to_end_kinds`; all share one evaluation of the value."""
    noise = next(iter(drawn.values()))[0]
    directions = torch.cat([directions for _, directions in drawn.values()])
    for way, how in _ways_of(config).items():
        value, derivatives = value_and_responses(phi, noise, directions, how, steps=steps, key=f"{model}{way}")
        check_finite_responses(model, ids, value, derivatives)
        parts = derivatives.split([len(directions) for _, directions in drawn.values()])
        yield from ((f"{kind}{way}", (value, part)) for kind, part in zip(drawn, parts, strict=True))


def summarise_end_to_end(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per variant, seed and kind of direction: Table 1, and the median map error; empty for no rows."""
    if rows.empty:
        return pd.DataFrame()
    groups = rows.groupby(["variant", "seed", "directions"], sort=False)
    return pd.DataFrame(
        [dict(zip(groups.keys, key, strict=True)) | summarise_responses(group) for key, group in groups]
    )
