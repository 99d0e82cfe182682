"""The measurements of the `sensitivity` notebook, section by section: a stage goes in, rows come out.

Rows are saved in the stage's folder. What a recipe leaves out is an empty table.
"""

from collections.abc import Iterable

import pandas as pd
from tqdm import tqdm

from gad.config import SensitivityConfig
from gad.data.prompts import prompt_of
from gad.evaluation.sensitivity.analysis_noise import (
    analysis_direction_kind,
    analysis_id_batches,
    analysis_ids,
    analysis_noise,
)
from gad.evaluation.sensitivity.end_to_end import EXTERNAL, end_to_end_kinds, measure_end_to_end
from gad.evaluation.sensitivity.jvp_agreement import measure_jvp_agreement
from gad.evaluation.sensitivity.per_noise_level import measure_noise_levels
from gad.evaluation.sensitivity.response_curve import measure_response_curve
from gad.evaluation.sensitivity.rounding_error import rounding_error_by_step
from gad.evaluation.sensitivity.seed_identification import measure_seeds
from gad.evaluation.sensitivity.spectrum import measure_spectra
from gad.evaluation.sensitivity.trajectory import measure_trajectories
from gad.models.external import as_external
from gad.models.stage import Stage
from gad.runtime.files import write_rows, write_table

ROUNDING_NOISES = 4  # at which rounding errors are measured


def _saved(stage: Stage, name: str, parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """The rows of all batches, written as they come to ``<name>.parquet``."""
    path = stage.folder / f"{name}.parquet"
    write_rows(path, parts)
    return pd.read_parquet(path)


def end_to_end_section(stage: Stage[SensitivityConfig]) -> pd.DataFrame:
    """A row per trained student, noise and direction of the noise-to-image map (Table 1), in ``samples.parquet``."""
    config = stage.section
    batches = analysis_id_batches(analysis_ids(config), config.batch_size)
    parts = measure_end_to_end(stage.teacher, stage.students, stage.settings, cache_dir=stage.cache)
    total = len(stage.students) * len(end_to_end_kinds(config)) * len(batches)
    return _saved(stage, "samples", tqdm(parts, total=total, desc="responses", mininterval=2))


def external_sensitivity_section(stage: Stage) -> pd.DataFrame:
    """The same of the external models, by difference, in ``external.parquet``."""
    if not stage.external:
        return pd.DataFrame()
    whole = as_external(stage.settings)
    rows = pd.concat(
        list(measure_end_to_end(stage.teacher, stage.external, whole, name=EXTERNAL, cache_dir=stage.cache))
    )
    write_table(stage.folder / "external.parquet", rows)
    return rows


def noise_level_section(stage: Stage) -> pd.DataFrame:
    """A row per trained student, time, noise and direction of one call at the teacher's state, in
    ``noise_levels.parquet``."""
    return _saved(
        stage,
        "noise_levels",
        measure_noise_levels(stage.teacher, stage.students, stage.settings, cache_dir=stage.cache),
    )


def trajectory_section(stage: Stage) -> pd.DataFrame:
    """A row per model, time and noise: the deviation accumulated so far (Table 4), in ``trajectory.parquet``."""
    parts = measure_trajectories(stage.teacher, stage.models, stage.settings, cache_dir=stage.cache)
    return _saved(stage, "trajectory", parts)


def seed_section(stage: Stage[SensitivityConfig]) -> pd.DataFrame:
    """A row per model, training size and test image of the seed classifiers (Table 2), in ``seeds.parquet``."""
    if not stage.section.seeds:
        return pd.DataFrame()
    parts = measure_seeds(stage.teacher, stage.models, stage.settings, cache_dir=stage.cache)
    rows = pd.concat(list(tqdm(parts, desc="seeds", total=len(stage.models) + 1, mininterval=2)))
    write_table(stage.folder / "seeds.parquet", rows)
    return rows


def response_curve_section(stage: Stage) -> pd.DataFrame:
    """A row per model and step h: how far x0 moves along one direction."""
    return pd.concat(list(measure_response_curve(stage.teacher, stage.models, stage.settings)), ignore_index=True)


def singular_value_section(stage: Stage[SensitivityConfig]) -> pd.DataFrame:
    """A row per model, noise and index of the map's largest singular values."""
    if not stage.section.num_spectra:
        return pd.DataFrame()
    return measure_spectra(stage.teacher, stage.models, stage.settings)


def jvp_agreement_section(stage: Stage) -> pd.DataFrame:
    """A row per variant: the derivative by forward mode and by difference, side by side."""
    return measure_jvp_agreement(stage.teacher, stage.students, stage.settings)


def rounding_error_section(stage: Stage[SensitivityConfig]) -> tuple[pd.DataFrame, dict[str, float]]:
    """A row per dtype and h of what a difference of one call at t = 1 measures for the first student, and the steps
    that were used elsewhere, by name."""
    config, kind = stage.section, analysis_direction_kind(stage.section)
    few = analysis_ids(config)[:ROUNDING_NOISES]
    ids, noise, directions = analysis_noise(stage.teacher, config, kind, ids=few)
    prompts = prompt_of(ids, stage.settings.noise_pairs.prompt_source)
    rows = rounding_error_by_step(stage.teacher, stage.students[0][2], noise, directions[0], prompts)
    unit = 0.01 / directions[0].flatten(1).norm(dim=1).mean().item()
    return rows, {"paper: h = .01": 0.01, "released code: ||hv|| = .01": unit}
