"""From one row per seed to the nested numbers of a metrics file: mean, interval and sample size per variant."""

from collections.abc import Sequence

import pandas as pd

from gad.stats import mean_over_seeds, paired_difference


def by_variant(table: pd.DataFrame, metrics: Sequence[str]) -> dict:
    """``{variant: {metric: {mean, low, high, n}}}`` over seeds, from a table with a row per variant and seed."""
    return {
        variant: {metric: vars(mean_over_seeds(group[metric])) for metric in metrics}
        for variant, group in table.groupby("variant", sort=False)
    }


def against(table: pd.DataFrame, metrics: Sequence[str], reference: str) -> dict:
    """As :func:`by_variant`, of the paired difference to the reference variant at the seeds that both have."""
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
