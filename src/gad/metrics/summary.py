"""From one row per seed to the nested numbers of a metrics file: mean, interval and sample size per variant."""

from collections.abc import Mapping, Sequence

import pandas as pd

from gad.metrics.statistics import paired_difference, t_interval_over_seeds


def summary_by_variant(table: pd.DataFrame, metrics: Sequence[str]) -> dict:
    """``{variant: {metric: {mean, low, high, n}}}`` over seeds, from a table with a row per variant and seed."""
    return {
        variant: {metric: vars(t_interval_over_seeds(group[metric])) for metric in metrics}
        for variant, group in table.groupby("variant", sort=False)
    }


def summary_against(table: pd.DataFrame, metrics: Sequence[str], reference: str) -> dict:
    """As :func:`summary_by_variant`, of the paired difference to the reference variant at the seeds that both have."""
    seeds = table.set_index(["variant", "seed"])
    base = seeds.loc[reference]
    result = {}
    for variant in seeds.index.get_level_values(0).unique():
        if variant in (reference, "teacher"):
            continue
        own = seeds.loc[variant]
        shared = own.index.intersection(base.index)
        if shared.empty:
            continue
        result[variant] = {
            metric: vars(paired_difference(own.loc[shared, metric], base.loc[shared, metric])) for metric in metrics
        }
    return result


def summarise_samples(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per variant and seed with the mean of every number over its samples; empty for no rows."""
    if rows.empty:
        return pd.DataFrame()
    columns = [name for name in rows.select_dtypes("number").columns if name not in ("seed", "sample")]
    return rows.groupby(["variant", "seed"], sort=False)[columns].mean().reset_index()


def summary_by_group(groups: Mapping[str, tuple[pd.DataFrame, Sequence[str]]]) -> dict:
    """Each group's numbers over seeds, and as ``<group>_minus_baseline`` the paired differences to the baseline.

    A group is a table with a row per variant and seed, and its columns that hold numbers.
    """
    over_seeds = {name: summary_by_variant(*group) for name, group in groups.items()}
    return over_seeds | {
        f"{name}_minus_baseline": summary_against(*group, "baseline") for name, group in groups.items()
    }


def summary_number_columns(table: pd.DataFrame) -> list[str]:
    """The columns that hold numbers of a variant and seed; not sample sizes, nor intervals of a single model."""
    left_out = ("variant", "seed", "n")
    return [name for name in table if name not in left_out and not name.endswith(("_low", "_high"))]
