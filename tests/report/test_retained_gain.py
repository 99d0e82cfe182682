"""What cheaper settings keep of a gain: a ratio of two means, both measured."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gad.metrics.statistics import ratio_of_means
from gad.report.ablations import RETAINED, Ablation
from gad.report.retained_gain import recorded_retained_gain, retained_gain_table


def test_the_intervals_bounds_are_the_ratios_that_a_paired_t_test_just_tells():
    draw = np.random.default_rng(3)
    first = draw.normal(1.0, 0.3, 8)
    cheap = 0.8 * first + draw.normal(0.0, 0.1, 8)
    share = ratio_of_means(cheap, first)
    assert share.low < share.mean < share.high and share.n == 8
    for bound in (share.low, share.high):
        assert stats.ttest_1samp(cheap - bound * first, 0).pvalue == pytest.approx(0.05, rel=1e-6)


@pytest.mark.parametrize("n", [4, 12])
def test_the_interval_covers_the_share_in_95_of_100_repeats(n):
    draw, covered = np.random.default_rng(0), []
    for _ in range(1000):
        shared = draw.normal(0.0, 0.1, n)  # so small that the first gain is always clear
        first = 1.0 + shared + draw.normal(0.0, 0.1, n)
        cheap = 0.7 + shared + draw.normal(0.0, 0.3, n)
        share = ratio_of_means(cheap, first)
        covered.append(share.low <= 0.7 <= share.high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.021)  # three standard errors


def test_where_there_is_no_clear_gain_a_share_of_it_has_no_bounds():
    unclear = ratio_of_means([1.0, 1.1, 0.9], [0.1, -0.2, 0.2])
    assert math.isnan(unclear.low) and math.isnan(unclear.high)
    one = ratio_of_means([1.0], [2.0])
    assert one.mean == 0.5 and math.isnan(one.low)


def test_equal_pairs_keep_all_with_an_interval_of_no_width():
    same = ratio_of_means([0.3, 0.4, 0.6], [0.3, 0.4, 0.6])
    assert (same.mean, same.low, same.high) == pytest.approx((1, 1, 1))


def table(gain: dict[int, float]) -> pd.DataFrame:
    """Table 1 with a gain of cosine by seed, and map errors that fall by twice as much."""
    rows = []
    for seed, value in gain.items():
        for variant, change in (("gad", value), ("baseline", 0.0)):
            row = {"variant": variant, "seed": seed, "directions": "isotropic", "jvp_cosine": 0.5 + seed + change}
            rows.append(row | {"map_error_median": 3.0 - 2 * change})
    return pd.DataFrame(rows)


def test_shares_pair_equal_seeds_and_say_the_same_of_what_rises_and_what_falls(tmp_path):
    settings = [{}, {"student.gad_batch_stride": 4}]
    ablation = Ablation(title="t", recipe="smoke", settings=settings, retained=True)
    first, cheap = table({0: 0.1, 1: 0.2, 2: 0.3}), table({2: 0.15, 1: 0.1, 0: 0.05, 7: 9.0})
    shares = retained_gain_table(ablation, [first, cheap])
    assert len(shares) == 1 and shares["setting"][0] == "gad_batch_stride 4" and shares["variant"][0] == "gad"
    for column in ("JVP cosine", "map error, median"):
        assert shares[f"{column}, retained mean"][0] == pytest.approx(0.5) and shares[f"{column}, retained n"][0] == 3
    shares.to_csv(tmp_path / f"a{RETAINED}.csv", index=False)
    assert len(recorded_retained_gain("a", tmp_path)) == 1 and recorded_retained_gain("b", tmp_path) is None
