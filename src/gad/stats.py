"""Means with intervals, and the smallest effect that a sample could have seen."""

from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % confidence interval and sample size."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        if np.isnan(self.low):
            return f"{self.mean:.3g}"
        return f"{self.mean:.3g} [{self.low:.3g}, {self.high:.3g}]"


def mean_over_seeds(values) -> Estimate:
    """Mean of one number per seed with the 95 % t interval; a single seed has none (NaN)."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return Estimate(float(values.mean()), float("nan"), float("nan"), len(values))
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return Estimate(float(values.mean()), float(values.mean() - half), float(values.mean() + half), len(values))


def paired_difference(values, reference) -> Estimate:
    """Mean of value - reference over equal seeds with the 95 % t interval of the differences."""
    return mean_over_seeds(np.asarray(values, dtype=float) - np.asarray(reference, dtype=float))
