"""The measurements of the `fidelity` notebook, section by section, and the stage's record.

What a recipe leaves out is an empty table.
"""

import pandas as pd
from tqdm import tqdm

from gad.config import SensitivityConfig
from gad.evaluation.caption_overlap import report_caption_overlap
from gad.evaluation.fidelity.fidelity import measure_fidelity, summarise_fidelity
from gad.evaluation.fidelity.inversion import measure_inversion
from gad.evaluation.fidelity.negative_prompts import measure_negative_prompts
from gad.metrics.paired import paired_outputs, paired_two_level_intervals
from gad.metrics.summary import summarise_samples, summary_by_group, summary_number_columns
from gad.models.sampler import TEACHER
from gad.models.stage import Stage
from gad.runtime.files import write_json, write_table
from gad.runtime.paths import metrics_file


def record_fidelity_scores(stage: Stage[SensitivityConfig]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row per model and image with its scores (Table 3), and one per model and reference with its distances
    (Table 12); in ``fidelity.parquet`` and ``distances.parquet``."""
    if not stage.section.fidelity:
        return pd.DataFrame(), pd.DataFrame()
    parts = measure_fidelity(stage.teacher, stage.models, stage.settings, cache_dir=stage.cache)
    shown = tqdm(parts, desc="fidelity", total=len(stage.models) + 1, mininterval=2)
    scored, distances = (pd.concat(part, ignore_index=True) for part in zip(*shown, strict=True))
    write_table(stage.folder / "fidelity.parquet", scored)
    write_table(stage.folder / "distances.parquet", distances)
    return scored, distances


def record_fidelity_inversion(stage: Stage[SensitivityConfig]) -> pd.DataFrame:
    """A row per model and sample of inversion, in ``inversion.parquet``."""
    if not stage.section.inversion:
        return pd.DataFrame()
    parts = measure_inversion(stage.teacher, stage.models, stage.settings, cache_dir=stage.cache)
    rows = pd.concat(tqdm(parts, desc="inversion", total=len(stage.models) + 1, mininterval=2))
    write_table(stage.folder / "inversion.parquet", rows)
    return rows


def record_fidelity_negative_prompts(stage: Stage[SensitivityConfig]) -> pd.DataFrame:
    """A row per model and sample of negative prompts, in ``negative.parquet``."""
    if not stage.section.negative_prompts:
        return pd.DataFrame()
    parts = measure_negative_prompts(stage.teacher, stage.models, stage.settings, cache_dir=stage.cache)
    rows = pd.concat(tqdm(parts, desc="negative prompts", total=len(stage.models) + 1, mininterval=2))
    write_table(stage.folder / "negative.parquet", rows)
    return rows


def record_fidelity(
    stage: Stage, *, scored: pd.DataFrame, distances: pd.DataFrame, inversion: pd.DataFrame, negative: pd.DataFrame
) -> dict:
    """Write ``table.csv``, where images were scored ``differences.csv``, and ``data/<recipe>/metrics/fidelity.json``;
    returns the metrics.

    A group of metrics per measurement that the recipe has, with its differences to the baseline at equal seeds, and
    ``two_level``, the scores' differences paired by image as well; of images ``caption_overlap`` besides.
    """
    tables = {"fidelity": summarise_fidelity(scored, distances)}
    tables |= {"inversion": summarise_samples(inversion), "negative": summarise_samples(negative)}
    tables = {name: table for name, table in tables.items() if len(table)}
    differences = paired_outputs([name for name, _, _ in stage.students], scored=scored)
    write_table(stage.folder / "table.csv", _one_table(stage, list(tables.values())))
    if len(differences):
        write_table(stage.folder / "differences.csv", differences)
    groups = {name: (table, summary_number_columns(table)) for name, table in tables.items()}
    metrics = (
        summary_by_group(groups)
        | {"two_level": paired_two_level_intervals(differences)}
        | report_caption_overlap(stage)
    )
    write_json(metrics_file(stage.recipe, "fidelity"), metrics)
    return metrics


def _one_table(stage: Stage, tables: list[pd.DataFrame]) -> pd.DataFrame:
    """A row per variant and seed, the teacher first, with all numbers that there are."""
    models = [(TEACHER, 0), *((name, seed) for name, seed, _ in stage.models)]
    whole = pd.DataFrame(models, columns=["variant", "seed"])
    for table in tables:
        whole = whole.merge(table, how="left", on=["variant", "seed"])
    return whole
