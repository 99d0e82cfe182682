"""The record of the `sensitivity` stage: its tables by seed, and the numbers of its metrics file."""

import pandas as pd

from gad.evaluation.caption_overlap import report_caption_overlap
from gad.evaluation.sensitivity.end_to_end import summarise_end_to_end
from gad.evaluation.sensitivity.per_noise_level import noise_levels_in_columns, summarise_noise_levels
from gad.evaluation.sensitivity.seed_accuracy import summarise_seed_identification
from gad.evaluation.sensitivity.spectrum import spectra_of_seeds
from gad.evaluation.sensitivity.trajectory import summarise_trajectories, trajectories_in_columns
from gad.metrics.paired import paired_outputs, paired_table, paired_two_level_intervals
from gad.metrics.summary import summary_by_group, summary_number_columns
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
        "table": pd.concat([summarise_end_to_end(rows) for rows in (samples, external) if len(rows)], ignore_index=True)
    }
    tables |= {
        "noise_levels": summarise_noise_levels(noise_levels),
        "trajectory": summarise_trajectories(trajectory),
        "agreement": agreement,
    }
    tables |= {"precision": rounding, "response": response} | ({"spectra": spectra} if len(spectra) else {})
    found = paired_outputs([name for name, _, _ in stage.students], trajectory=trajectory, seeds=seeds)
    tables["differences"] = pd.concat([paired_table(samples), found], ignore_index=True)
    for name, rows in tables.items():
        write_table(stage.folder / f"{name}.csv", rows)
    metrics = summary_by_group(_groups(tables, spectra, seeds)) | {
        "two_level": paired_two_level_intervals(tables["differences"])
    }
    metrics |= report_caption_overlap(stage)
    write_json(metrics_file(stage.recipe, "sensitivity"), metrics)
    return metrics


def _groups(tables: dict[str, pd.DataFrame], spectra: pd.DataFrame, seeds: pd.DataFrame):
    """Each group of the metrics: a table with a row per variant and seed, and its columns that hold numbers."""
    groups = {kind: (group, TABLE_1) for kind, group in tables["table"].groupby("directions", sort=False)}
    others = {
        "per_noise_level": noise_levels_in_columns(tables["noise_levels"]),
        "trajectory": trajectories_in_columns(tables["trajectory"]),
    }
    others |= {"spectra": spectra_of_seeds(spectra)} if len(spectra) else {}
    others |= {"seeds": summarise_seed_identification(seeds)} if len(seeds) else {}
    return groups | {name: (table, summary_number_columns(table)) for name, table in others.items()}
