"""Intervals of the held-out curves: over prompts.

Values are ``[P, S]``: S seeds, noises of their own, under each of P prompts.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from gad.metrics.statistics import Estimate

Statistic = Literal["mean", "median"]


def validation_estimate_over_prompts(
    values: ArrayLike | Tensor, statistic: Statistic = "mean", *, resamples: int = 1000, seed: int = 0
) -> Estimate:
    """Mean or median of all values ``[P, S]`` with a 95 % interval for other prompts and noises, of this very model.

    Percentile bootstrap that draws prompts with all their seeds (cluster bootstrap), so values of one prompt may depend
    on each other. With fewer than ten prompts it is somewhat too narrow. ``n`` counts prompts; a value that is not
    finite makes all NaN.
    """
    values = np.asarray(values, dtype=float)
    of, count, nothing = np.median if statistic == "median" else np.mean, len(values), float("nan")
    if not np.isfinite(values).all():
        return Estimate(nothing, nothing, nothing, count)
    drawn = np.random.default_rng(seed).integers(count, size=(resamples, count))
    low, high = np.quantile(of(values[drawn].reshape(resamples, -1), axis=1), (0.025, 0.975))
    return Estimate(float(of(values)), float(low), float(high), count)
