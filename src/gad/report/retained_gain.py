"""Retained gain: the share of the first setting's gain over the baseline that a cheaper setting has."""

from pathlib import Path

import pandas as pd

from gad.metrics.statistics import ratio_of_means
from gad.report.ablations import METRICS, PAIRED, RETAINED, Ablation, ablation_setting_label
from gad.runtime.paths import RESULTS


def _gains_of(table: pd.DataFrame, metric: str, variant: str) -> pd.Series:
    """A variant's value less the baseline's, by seed; ``table`` is a recipe's Table 1 for one kind of direction."""
    by_seed = table.pivot(index="seed", columns="variant", values=metric)
    return (by_seed[variant] - by_seed["baseline"]).dropna()


def retained_gain_table(ablation: Ablation, tables: list[pd.DataFrame]) -> pd.DataFrame:
    """A row per further setting, kind of direction and variant: the share of the first setting's gain that it keeps.

    ``tables`` are what stage `sensitivity` wrote as ``table.csv`` for each setting. Shares pair equal seeds; 1 is all
    of the gain, and their intervals (:func:`ratio_of_means`) have no bounds where there is no clear gain to keep.
    """
    rows = []
    for setting, table in zip(ablation.settings[1:], tables[1:], strict=True):
        for kind, own in table.groupby("directions", sort=False):
            first = tables[0][tables[0]["directions"] == kind]
            for variant in [name for name in ablation.variants if name != "baseline"]:
                row = {"setting": ablation_setting_label(setting), "directions": kind, "variant": variant}
                for column in PAIRED:
                    name = METRICS[column][1]
                    pair = pd.concat([_gains_of(part, name, variant) for part in (own, first)], axis=1, join="inner")
                    share = ratio_of_means(*pair.to_numpy().T)
                    row |= {f"{column}, retained {part}": value for part, value in vars(share).items()}
                rows.append(row)
    return pd.DataFrame(rows)


def recorded_retained_gain(name: str, folder: Path = RESULTS / "ablations") -> "pd.DataFrame | None":
    """The second table of the ablation of that name in :func:`recorded_ablation_tables`, if there is one."""
    import pandas as pd  # here, since it takes seconds

    path = folder / f"{name}{RETAINED}.csv"
    return pd.read_csv(path) if path.exists() else None
