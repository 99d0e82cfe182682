import math

import numpy as np
import pandas as pd
import pytest

from gad.metrics.statistics import mean_over_seeds, paired_difference
from gad.metrics.summary import against, by_variant


def test_t_interval_by_hand():
    estimate = mean_over_seeds([1.0, 2.0, 6.0])
    half = 4.302652729911275 * math.sqrt(7) / math.sqrt(3)  # t(0.975, 2 degrees of freedom), variance (4 + 1 + 9) / 2
    assert estimate.mean == pytest.approx(3)
    assert (estimate.low, estimate.high) == pytest.approx((3 - half, 3 + half))
    assert estimate.n == 3


def test_one_seed_has_no_interval():
    estimate = mean_over_seeds([2.5])
    assert estimate.mean == 2.5 and math.isnan(estimate.low) and math.isnan(estimate.high)
    assert str(estimate) == "2.5"


def test_equal_values_have_an_interval_of_no_width():
    assert (mean_over_seeds([2.0, 2.0]).low, mean_over_seeds([2.0, 2.0]).high) == (2.0, 2.0)


@pytest.mark.parametrize("n", [3, 5, 20])
def test_interval_covers_the_mean_in_95_of_100_repeats(n):
    draws = np.random.default_rng(0).normal(1.0, 2.0, size=(1000, n))
    covered = [estimate.low <= 1.0 <= estimate.high for estimate in map(mean_over_seeds, draws)]
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
    summary = by_variant(TABLE, ["score"])
    assert list(summary) == ["baseline", "gad"]
    assert summary["baseline"]["score"]["mean"] == 2 and summary["gad"]["score"]["n"] == 3


def test_differences_pair_equal_seeds_whatever_their_order():
    difference = against(TABLE, ["score"], "baseline")
    assert list(difference) == ["gad"]
    assert difference["gad"]["score"]["mean"] == pytest.approx(1.5)  # (2 - 1 + 5 - 3) / 2; seed 2 has no partner
    assert difference["gad"]["score"]["n"] == 2
