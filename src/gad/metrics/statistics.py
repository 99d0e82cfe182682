"""Means with intervals, effect sizes, and the minimum detectable effect."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

POWER = 0.8  # probability with which the minimum detectable effect is detected
LEVEL = 0.05

Values = ArrayLike | tuple[float | int, ...]
"""Numbers; a tuple is named by itself, since at run time numpy's type asks a sequence for ``__reversed__``."""


def has_confidence_interval(low: float | None) -> bool:
    """Whether an interval with that lower end is one: None and NaN stand for none, in files and in memory."""
    return low is not None and not np.isnan(low)


def mean_with_interval(mean: float, low: float | None, high: float | None) -> str:
    """``mean [low, high]`` to three digits, or the mean alone where there is no interval."""
    return f"{mean:.3g} [{low:.3g}, {high:.3g}]" if has_confidence_interval(low) else f"{mean:.3g}"


def excludes_zero(low: float | None, high: float | None) -> bool:
    """Whether there is an interval and 0 lies outside."""
    return low is not None and high is not None and has_confidence_interval(low) and (low > 0 or high < 0)


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % confidence interval and sample size."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return mean_with_interval(self.mean, self.low, self.high)


def t_interval_over_seeds(values: Values) -> Estimate:
    """Mean of one number per seed with the 95 % t interval; a single seed has none (NaN)."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return Estimate(float(values.mean()), float("nan"), float("nan"), len(values))
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return Estimate(float(values.mean()), float(values.mean() - half), float(values.mean() + half), len(values))


def paired_difference(values: Values, reference: Values) -> Estimate:
    """Mean of value - reference over equal seeds with the 95 % t interval of the differences."""
    return t_interval_over_seeds(np.asarray(values, dtype=float) - np.asarray(reference, dtype=float))


def bootstrap_mean(values: Values, *, resamples: int = 2000, seed: int = 0) -> Estimate:
    """Mean over noises with the 95 % BCa bootstrap interval; covers other noises, for the very same students.

    Pair first: give the differences at equal noises and prompts. Fewer than two values, or equal ones, have no
    interval but the point itself (NaN for one).
    """
    values = np.asarray(values, dtype=float)
    mean, n = float(values.mean()), len(values)
    if n < 2 or np.ptp(values) == 0:
        edge = float("nan") if n < 2 else mean
        return Estimate(mean, edge, edge, n)
    result = stats.bootstrap((values,), np.mean, n_resamples=resamples, method="BCa", rng=np.random.default_rng(seed))
    low, high = result.confidence_interval
    return Estimate(mean, float(low), float(high), n)


def crossed_intervals(values: Values) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean, low, high and degrees of freedom of ``values [..., S, N]``: every seed at every noise.

    The 95 % interval covers other seeds *and* other noises. Seeds, noises and what is left are random effects of a
    two-way layout, so that Var(mean) = (MS_seed + MS_noise - MS_rest) / (S N), with Satterthwaite's degrees of freedom
    (Searle, Casella and McCulloch, Variance Components, 1992); a negative component counts as none.
    """
    values = np.asarray(values, dtype=float)
    num_seeds, num_noises = values.shape[-2:]
    mean = values.mean((-2, -1))
    by_seed, by_noise = values.mean(-1) - mean[..., None], values.mean(-2) - mean[..., None]
    rest = values - mean[..., None, None] - by_seed[..., :, None] - by_noise[..., None, :]
    freedom = num_seeds - 1, num_noises - 1, (num_seeds - 1) * (num_noises - 1)
    squares = [num_noises * (by_seed**2).sum(-1), num_seeds * (by_noise**2).sum(-1), (rest**2).sum((-2, -1))]
    of_seed, of_noise, of_rest = (total / count for total, count in zip(squares, freedom, strict=True))
    kept = np.where(np.minimum(of_seed, of_noise) > of_rest, of_rest, np.minimum(of_seed, of_noise))
    total = of_seed + of_noise - kept
    spread = of_seed**2 / freedom[0] + of_noise**2 / freedom[1] + kept**2 / freedom[2]
    degrees = np.divide(total**2, spread, out=np.full_like(total, freedom[0]), where=spread > 0)
    degrees = np.clip(degrees, min(freedom[:2]), None)
    half = stats.t.ppf(0.975, degrees) * np.sqrt(total / (num_seeds * num_noises))
    return np.asarray(mean), np.asarray(mean - half), np.asarray(mean + half), np.asarray(degrees)


@dataclass(frozen=True)
class CrossedEstimate(Estimate):
    """An estimate whose interval has more degrees of freedom than its seeds alone leave."""

    freedom: float


def crossed_mean(values: Values) -> CrossedEstimate:
    """The mean of ``values [S, N]`` with the interval of :func:`crossed_intervals`; NaN for one seed or one noise.

    ``n`` is the number of seeds.
    """
    values, nothing = np.asarray(values, dtype=float), float("nan")
    if min(values.shape) < 2:
        return CrossedEstimate(float(values.mean()), nothing, nothing, len(values), nothing)
    mean, low, high, freedom = map(float, crossed_intervals(values))
    return CrossedEstimate(mean, low, high, len(values), freedom)


@dataclass(frozen=True)
class Effect:
    """What a mean of paired differences is worth; NaN where one pair leaves it open.

    ``hedges_g``: mean / standard deviation of the differences (Cohen's d_z), freed of its bias in small samples ·
    ``p``: two-sided paired t test · ``minimum_detectable``: the mean that such a sample detects in 80 % of all cases.
    """

    hedges_g: float
    p: float
    minimum_detectable: float


@cache
def _detectable_noncentrality(freedom: float) -> float:
    """Mean over standard error at which a two-sided t test of so many degrees of freedom has a power of ``POWER``."""
    edge = stats.t.ppf(1 - LEVEL / 2, freedom)
    # the noncentral t averaged over the sample's own standard deviation; scipy's nct is NaN for few degrees of freedom
    edges = edge * np.sqrt(stats.chi2.ppf((np.arange(20_000) + 0.5) / 20_000, freedom) / freedom)

    def lacking(shift: float) -> float:
        return float((stats.norm.sf(edges - shift) + stats.norm.cdf(-edges - shift)).mean()) - POWER

    return optimize.brentq(lacking, 0.0, 10 * edge)


def effect_statistics(
    mean: float, low: float | None, high: float | None, n: int, freedom: float | None = None
) -> Effect:
    """The effect behind a mean of ``n`` paired differences and its 95 % t interval, which holds all that is needed;
    its degrees of ``freedom`` are n - 1 unless given."""
    nothing = float("nan")
    if n < 2 or low is None or high is None or not has_confidence_interval(low):
        return Effect(nothing, nothing, nothing)
    freedom = n - 1 if freedom is None else freedom
    error = (high - low) / 2 / stats.t.ppf(0.975, freedom)  # standard error of the mean
    if error == 0:
        return Effect(float(np.copysign(np.inf, mean)) if mean else 0.0, 1.0 if mean == 0 else 0.0, 0.0)
    unbiased = 1 - 3 / (4 * (n - 1) - 1) if n > 2 else nothing  # two pairs leave no unbiased estimate
    p = 2 * stats.t.sf(abs(mean) / error, freedom)
    return Effect(
        float(unbiased * mean / error / n**0.5),
        float(p),
        float(_detectable_noncentrality(round(float(freedom), 1)) * error),
    )


def holm(p: Values) -> np.ndarray:
    """Holm's adjusted p-values (1979): all below .05 hold together with 95 % confidence. NaN stays NaN, uncounted."""
    p = np.asarray(p, dtype=float)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known])]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted = np.full_like(p, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


def ratio_of_means(values: Values, reference: Values) -> Estimate:
    r"""mean(values) / mean(reference) of pairs, with Fieller's 95 % interval, which covers the error of both means.

    The interval (Fieller, Some problems in interval estimation, 1954) holds every r for which a paired t test does not
    tell mean(values - r reference) from 0,

    .. math:: (\bar y - r \bar x)^2 \le \frac{t^2}{n} (s_{yy} - 2 r s_{xy} + r^2 s_{xx})

    It has no bounds (NaN) where the reference's mean is not significantly different from 0, and for one pair.
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
