"""What cheaper settings of an ablation keep of the gain that its first setting has over the baseline."""

import numpy as np
import pandas as pd
from scipy import stats

from gad.ablations import METRICS, PAIRED, Ablation, label_of
from gad.stats import Estimate


def ratio_of_means(values, reference) -> Estimate:
    r"""mean(values) / mean(reference) of pairs, with Fieller's 95 % interval, which covers the error of both means.

    The interval (Fieller, Some problems in interval estimation, 1954) holds every r for which a paired t test does not
    tell mean(values - r reference) from 0,

    .. math:: (\bar y - r \bar x)^2 \le \frac{t^2}{n} (s_{yy} - 2 r s_{xy} + r^2 s_{xx})

    It has no bounds (NaN) where the reference's mean cannot be told from 0, and for one pair.
    """
    y, x = np.asarray(values, dtype=float), np.asarray(reference, dtype=float)
    ratio, n = float(y.mean() / x.mean()), len(x)
    if n < 2:
        return Estimate(ratio, float("nan"), float("nan"), n)
    (of_y, of_both), (_, of_x) = np.cov(y, x) * stats.t.ppf(0.975, n - 1) ** 2 / n
    a, b, c = x.mean() ** 2 - of_x, x.mean() * y.mean() - of_both, y.mean() ** 2 - of_y  # a r^2 - 2 b r + c <= 0
    if a <= 0:
        return Estimate(ratio, float("nan"), float("nan"), n)
    half = max(0.0, b**2 - a * c) ** 0.5
    return Estimate(ratio, float((b - half) / a), float((b + half) / a), n)


def gains_of(table: pd.DataFrame, metric: str, variant: str) -> pd.Series:
    """A variant's value less the baseline's, by seed; ``table`` is a recipe's Table 1 for one kind of direction."""
    by_seed = table.pivot(index="seed", columns="variant", values=metric)
    return (by_seed[variant] - by_seed["baseline"]).dropna()


def kept_table(ablation: Ablation, tables: list[pd.DataFrame]) -> pd.DataFrame:
    """A row per further setting, kind of direction and variant: the share of the first setting's gain that it keeps.

    ``tables`` are what stage `sensitivity` wrote as ``table.csv`` for each setting. Shares pair equal seeds; 1 is all
    of the gain, and their intervals (:func:`ratio_of_means`) have no bounds where there is no clear gain to keep.
    """
    rows = []
    for setting, table in zip(ablation.settings[1:], tables[1:], strict=True):
        for kind, own in table.groupby("directions", sort=False):
            first = tables[0][tables[0]["directions"] == kind]
            for variant in [name for name in ablation.variants if name != "baseline"]:
                row = {"setting": label_of(setting), "directions": kind, "variant": variant}
                for column in PAIRED:
                    name = METRICS[column][1]
                    pair = pd.concat([gains_of(part, name, variant) for part in (own, first)], axis=1, join="inner")
                    share = ratio_of_means(*pair.to_numpy().T)
                    row |= {f"{column}, kept {part}": value for part, value in vars(share).items()}
                rows.append(row)
    return pd.DataFrame(rows)
