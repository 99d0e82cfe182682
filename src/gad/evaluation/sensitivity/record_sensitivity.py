"""The record of the `sensitivity` stage: its tables by seed, and the numbers of its metrics file."""

import pandas as pd

from gad.evaluation.caption_overlap import report_caption_overlap
from gad.evaluation.sensitivity.end_to_end import end_to_end_table
from gad.evaluation.sensitivity.per_noise_level import noise_level_table, wide_noise_level_table
from gad.evaluation.sensitivity.seed_identification import seed_table
from gad.evaluation.sensitivity.spectrum import spectra_of_seeds
from gad.evaluation.sensitivity.trajectory import trajectory_table, wide_deviation
from gad.metrics.paired import paired_outputs, paired_table, two_level_intervals
from gad.metrics.summary import grouped_metrics, number_columns
from gad.models.stage import Stage
from gad.runtime.files import write_json, write_table
from gad.runtime.paths import metrics_file

TABLE_1 = (  # the numbers of each kind of direction
    "map_error_median", "jvp_mse", "gain_median", "pointwise_mse", "jvp_cosine", "jacobian_norm_ratio", "spectral_kl",
)  # fmt: skip


def record_sensitivity(
    stage: Stage,
    *,
    samples: pd.DataFrame,
    external: pd.DataFrame,
    noise_levels: pd.DataFrame,
    trajectory: pd.DataFrame,
    seeds: pd.DataFrame,
    spectra: pd.DataFrame,
    response: pd.DataFrame,
    agreement: pd.DataFrame,
    rounding: pd.DataFrame,
) -> dict:
    """Write what :mod:`gad.evaluation.sensitivity.sections` measured as tables by seed in the stage's folder and as
    ``data/<recipe>/metrics/sensitivity.json``; returns the metrics.

    A group of metrics per kind of direction, noise level and so on, each with its differences to the baseline at equal
    seeds, and ``two_level``, the differences paired by noise and prompt as well; of images ``caption_overlap``
    besides, the captions that the students were trained with.
    """
    tables = {
        "table": pd.concat([end_to_end_table(rows) for rows in (samples, external) if len(rows)], ignore_index=True)
    }
    tables |= {
        "noise_levels": noise_level_table(noise_levels),
        "trajectory": trajectory_table(trajectory),
        "agreement": agreement,
    }
    tables |= {"precision": rounding, "response": response} | ({"spectra": spectra} if len(spectra) else {})
    found = paired_outputs([name for name, _, _ in stage.students], trajectory=trajectory, seeds=seeds)
    tables["differences"] = pd.concat([paired_table(samples), found], ignore_index=True)
    for name, rows in tables.items():
        write_table(stage.folder / f"{name}.csv", rows)
    metrics = grouped_metrics(_groups(tables, spectra, seeds)) | {
        "two_level": two_level_intervals(tables["differences"])
    }
    metrics |= report_caption_overlap(stage)
    write_json(metrics_file(stage.recipe, "sensitivity"), metrics)
    return metrics


def _groups(tables: dict[str, pd.DataFrame], spectra: pd.DataFrame, seeds: pd.DataFrame):
    """Each group of the metrics: a table with a row per variant and seed, and its columns that hold numbers."""
    groups = {kind: (group, TABLE_1) for kind, group in tables["table"].groupby("directions", sort=False)}
    others = {
        "per_noise_level": wide_noise_level_table(tables["noise_levels"]),
        "trajectory": wide_deviation(tables["trajectory"]),
    }
    others |= {"spectra": spectra_of_seeds(spectra)} if len(spectra) else {}
    others |= {"seeds": seed_table(seeds)} if len(seeds) else {}
    return groups | {name: (table, number_columns(table)) for name, table in others.items()}
