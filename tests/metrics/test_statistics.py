"""Intervals hold what they promise, effect sizes follow their formulas, and a null result says what it could see."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gad.metrics.statistics import (
    bootstrap_mean,
    crossed_intervals,
    crossed_mean,
    effect_statistics,
    holm,
    paired_difference,
    t_interval_over_seeds,
)
from gad.metrics.summary import summary_against, summary_by_variant

REPEATS = 1000


def test_t_interval_by_hand():
    estimate = t_interval_over_seeds([1.0, 2.0, 6.0])
    half = 4.302652729911275 * math.sqrt(7) / math.sqrt(3)  # t(0.975, 2 degrees of freedom), variance (4 + 1 + 9) / 2
    assert estimate.mean == pytest.approx(3)
    assert (estimate.low, estimate.high) == pytest.approx((3 - half, 3 + half))
    assert estimate.n == 3


def test_one_seed_has_no_interval():
    estimate = t_interval_over_seeds([2.5])
    assert estimate.mean == 2.5 and math.isnan(estimate.low) and math.isnan(estimate.high)
    assert str(estimate) == "2.5"


def test_equal_values_have_an_interval_of_no_width():
    assert (t_interval_over_seeds([2.0, 2.0]).low, t_interval_over_seeds([2.0, 2.0]).high) == (2.0, 2.0)


@pytest.mark.parametrize("n", [3, 5, 20])
def test_interval_covers_the_mean_in_95_of_100_repeats(n):
    draws = np.random.default_rng(0).normal(1.0, 2.0, size=(1000, n))
    covered = [estimate.low <= 1.0 <= estimate.high for estimate in map(t_interval_over_seeds, draws)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.021)  # three standard errors


def test_paired_difference_removes_what_the_seeds_share():
    shared = np.array([0.0, 10.0, 20.0])
    estimate = paired_difference(shared + np.array([1.0, 1.1, 0.9]), shared)
    assert estimate.mean == pytest.approx(1)
    assert 0.5 < estimate.low < estimate.high < 1.5


TABLE = pd.DataFrame(
    {
        "variant": ["baseline", "baseline", "gad", "gad", "gad"],
        "seed": [0, 1, 1, 0, 2],
        "score": [1.0, 3.0, 5.0, 2.0, 100.0],
    }
)


def test_summary_has_mean_and_size_per_variant():
    summary = summary_by_variant(TABLE, ["score"])
    assert list(summary) == ["baseline", "gad"]
    assert summary["baseline"]["score"]["mean"] == 2 and summary["gad"]["score"]["n"] == 3


def test_differences_pair_equal_seeds_whatever_their_order():
    difference = summary_against(TABLE, ["score"], "baseline")
    assert list(difference) == ["gad"]
    assert difference["gad"]["score"]["mean"] == pytest.approx(1.5)  # (2 - 1 + 5 - 3) / 2; seed 2 has no partner
    assert difference["gad"]["score"]["n"] == 2


def students(effect, *, seeds, noises, of_seed, of_noise, of_rest, repeats=REPEATS, seed=0):
    """Differences ``[repeats, S, N]`` of synthetic students whose true mean is ``effect``."""
    rng = np.random.default_rng(seed)
    values = effect + of_rest * rng.standard_normal((repeats, seeds, noises))
    values += of_seed * rng.standard_normal((repeats, seeds, 1))
    return values + of_noise * rng.standard_normal((repeats, 1, noises))


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(("of_seed", "of_noise", "of_rest"), [(1.0, 1.0, 1.0), (0.3, 2.0, 1.0), (1.0, 0.2, 1.0)])
def test_the_interval_over_seeds_and_noises_covers_95_of_100_students(seeds, of_seed, of_noise, of_rest):
    drawn = students(0.7, seeds=seeds, noises=24, of_seed=of_seed, of_noise=of_noise, of_rest=of_rest)
    _, low, high, _ = crossed_intervals(drawn)
    assert 0.93 <= np.mean((low <= 0.7) & (high >= 0.7)) <= 0.97


def test_seed_intervals_alone_are_too_narrow_where_noises_matter():
    drawn = students(0.7, seeds=5, noises=24, of_seed=0.1, of_noise=2.0, of_rest=0.1)
    means = drawn.mean(2)
    half = stats.t.ppf(0.975, 4) * stats.sem(means, axis=1)
    assert np.mean(np.abs(means.mean(1) - 0.7) <= half) < 0.6


def test_the_interval_over_seeds_and_noises_by_hand():
    values = np.array([[1.0, 3.0], [2.0, 8.0]])  # mean 3.5; seeds 2 and 5, noises 1.5 and 5.5, rest +1 -1 -1 +1
    estimate = crossed_mean(values)
    total = 9 + 16 - 4  # each has one degree of freedom
    degrees = total**2 / (9**2 + 16**2 + 4**2)
    half = stats.t.ppf(0.975, degrees) * np.sqrt(total / 4)
    assert (estimate.mean, estimate.low, estimate.high) == pytest.approx((3.5, 3.5 - half, 3.5 + half))
    assert estimate.n == 2


def test_one_seed_or_one_noise_has_no_interval_over_both():
    assert np.isnan(crossed_mean(np.ones((1, 9))).low) and np.isnan(crossed_mean(np.ones((3, 1))).low)


def test_equal_values_have_an_interval_of_no_width_over_both():
    assert (crossed_mean(np.full((3, 4), 2.0)).low, crossed_mean(np.full((3, 4), 2.0)).high) == (2.0, 2.0)


def test_the_bootstrap_covers_the_mean_over_noises():
    draws = np.random.default_rng(0).normal(1.0, 2.0, size=(200, 48))
    found = [bootstrap_mean(draw, resamples=400) for draw in draws]
    assert np.mean([e.low <= 1.0 <= e.high for e in found]) == pytest.approx(0.945, abs=0.046)  # three standard errors


def test_the_bootstrap_leans_with_a_skewed_sample_and_does_not_change_from_run_to_run():
    values = np.random.default_rng(1).exponential(size=40)
    estimate = bootstrap_mean(values)
    assert estimate.high - estimate.mean > estimate.mean - estimate.low
    assert estimate == bootstrap_mean(values)
    assert (bootstrap_mean([2.0, 2.0]).low, bootstrap_mean([2.0, 2.0]).high) == (2.0, 2.0)


def test_the_effect_behind_an_interval_is_that_of_the_sample():
    values = np.random.default_rng(2).normal(0.8, 1.0, size=6)
    estimate = t_interval_over_seeds(values)
    effect = effect_statistics(**vars(estimate))
    assert effect.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert effect.hedges_g == pytest.approx((1 - 3 / 19) * values.mean() / values.std(ddof=1))


def test_an_interval_with_more_freedom_than_its_seeds_leave_has_the_p_of_its_own():
    values = np.random.default_rng(4).normal(0.3, 1.0, size=(3, 40))  # noises decide: about 39 degrees of freedom
    estimate = crossed_mean(values)
    error = (estimate.high - estimate.low) / 2 / stats.t.ppf(0.975, estimate.freedom)
    assert estimate.freedom > 10
    assert effect_statistics(**vars(estimate)).p == pytest.approx(
        2 * stats.t.sf(abs(estimate.mean) / error, estimate.freedom)
    )


@pytest.mark.parametrize("n", [3, 5, 16])
def test_the_minimum_detectable_effect_is_seen_in_80_of_100_samples(n):
    estimate = t_interval_over_seeds(np.arange(n) - (n - 1) / 2)  # mean 0, a known standard deviation
    deviation = np.arange(n).std(ddof=1)
    visible = effect_statistics(**vars(estimate)).minimum_detectable
    draws = np.random.default_rng(3).normal(visible, deviation, size=(4000, n))
    assert np.mean(stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.02)


def test_one_pair_has_no_effect_size():
    assert all(np.isnan(value) for value in vars(effect_statistics(1.0, None, None, 1)).values())
    two = effect_statistics(**vars(t_interval_over_seeds([1.0, 1.2])))
    assert np.isnan(two.hedges_g) and two.p < 0.1


def test_equal_differences_are_certain_and_no_difference_is_none():
    assert effect_statistics(2.0, 2.0, 2.0, 3).p == 0 and effect_statistics(2.0, 2.0, 2.0, 3).hedges_g == np.inf
    assert effect_statistics(0.0, 0.0, 0.0, 3).p == 1 and effect_statistics(0.0, 0.0, 0.0, 3).hedges_g == 0


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]).tolist() == [1, 1]
    adjusted = holm([0.02, np.nan, 0.5])
    assert adjusted[0] == pytest.approx(0.04) and np.isnan(adjusted[1])


def test_holm_keeps_false_alarms_in_a_whole_table_to_one_in_twenty():
    p = np.random.default_rng(4).uniform(size=(2000, 30))
    assert np.mean([(holm(row) < 0.05).any() for row in p]) == pytest.approx(0.049, abs=0.015)
