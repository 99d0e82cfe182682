"""Intervals over prompts."""

import numpy as np
import pytest
import torch

from gad.metrics.statistics import bootstrap_mean
from gad.metrics.validation_numbers import validation_estimate_over_prompts


def test_mean_and_median_are_of_all_values():
    values = [[1.0, 2.0, 9.0], [3.0, 4.0, 5.0]]
    assert (
        validation_estimate_over_prompts(values).mean == 4
        and validation_estimate_over_prompts(values, "median").mean == 3.5
    )
    assert validation_estimate_over_prompts(values).n == 2


def test_values_that_agree_within_a_prompt_leave_as_much_open_as_the_prompts_alone():
    prompts = np.random.default_rng(0).normal(size=(12, 1))
    repeated, alone = (validation_estimate_over_prompts(np.repeat(prompts, copies, 1)) for copies in (8, 1))
    assert (repeated.low, repeated.high) == pytest.approx((alone.low, alone.high))
    independent = bootstrap_mean(np.repeat(prompts, 8, 1).ravel())
    assert repeated.high - repeated.low > 2 * (independent.high - independent.low)


def test_intervals_cover_the_true_mean_about_as_often_as_they_say():
    draw = np.random.default_rng(1)
    samples = [draw.normal(size=(16, 1)) + draw.normal(size=(16, 4)) for _ in range(200)]
    found = [validation_estimate_over_prompts(sample, resamples=300) for sample in samples]
    assert 0.87 < np.mean([estimate.low < 0 < estimate.high for estimate in found]) <= 0.99


def test_the_same_values_have_the_same_interval_and_the_global_generators_are_left_alone():
    values = np.random.default_rng(2).normal(size=(8, 4))
    np.random.seed(0)
    before = np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert validation_estimate_over_prompts(values) == validation_estimate_over_prompts(torch.from_numpy(values))
    assert before == (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())


def test_one_value_that_is_not_finite_leaves_no_number():
    found = validation_estimate_over_prompts([[1.0, float("nan")], [1.0, 2.0]])
    assert np.isnan([found.mean, found.low, found.high]).all()
