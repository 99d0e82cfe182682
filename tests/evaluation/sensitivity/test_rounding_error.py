"""What a difference measures in float32 and half precision, on networks whose exact derivative is known."""

import copy

import pytest
import torch

from gad.diffusion.denoiser import NetworkDenoiser
from gad.diffusion.schedule import CosineSchedule
from gad.evaluation.sensitivity.rounding_error import map_in_dtype, rounding_error_by_step
from gad.models.mlp import PointNetwork, point_denoiser
from gad.models.model import Model

SHAPE = (64, 1, 1)


@pytest.fixture(scope="module")
def models():
    """A network on 64 numbers, and one beside it whose derivatives are alike but not the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = PointNetwork(64, 2, dim=64).requires_grad_(False)
        other = copy.deepcopy(network)
        for parameter in other.parameters():
            parameter.add_(0.5 * parameter.std() * torch.randn_like(parameter))
    return [Model(point_denoiser(each), SHAPE) for each in (network, other)]


@pytest.fixture(scope="module")
def measured(models):
    noise, direction = torch.randn(2, 16, *SHAPE, generator=torch.Generator().manual_seed(0))
    return rounding_error_by_step(*models, noise, direction, [""] * 16).set_index(["dtype", "h"])


def test_float32_measures_the_true_cosine_over_a_wide_range_of_steps(measured):
    for h in (1e-3, 1e-2, 3e-2):
        row = measured.loc[("float32", h)]
        assert row["self_cosine"] > 0.999 and row["cosine"] == pytest.approx(row["true_cosine"], abs=0.01)
        assert row["norm_ratio"] == pytest.approx(row["true_ratio"], rel=0.02)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_measures_rounding_where_the_step_is_small(measured, dtype):
    small, large = measured.loc[(dtype, 1e-5)], measured.loc[(dtype, 0.3)]
    assert not small["self_cosine"] > 0.3  # NaN or near 0: nothing is left of the derivative
    assert large["self_cosine"] > 0.95
    assert large["cosine"] == pytest.approx(large["true_cosine"], abs=0.1)


def test_more_bits_reach_the_truth_at_a_smaller_step(measured):
    at = {name: measured.loc[(name, 3e-3)]["self_cosine"] for name in ("float32", "float16", "bfloat16")}
    assert at["float32"] > at["float16"] > at["bfloat16"]


def test_where_a_network_cannot_run_in_half_precision_it_is_rounded_and_said(models, point_teacher):
    x = torch.randn(2, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    phi, how = map_in_dtype(point_teacher.denoiser, torch.bfloat16, x, 1.0, None)
    assert how == "rounded" and torch.equal(phi(x), phi(x).bfloat16().float())
    x = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    assert map_in_dtype(models[0].denoiser, torch.bfloat16, x, 1.0, None)[1] == "rounded"  # its time stays float32
    plain = NetworkDenoiser(torch.nn.Conv2d(64, 64, 1), lambda network, x_t, *_: network(x_t), CosineSchedule(), "x0")
    assert map_in_dtype(plain.requires_grad_(False), torch.bfloat16, x, 1.0, None)[1] == "computed"
    assert next(models[0].denoiser.parameters()).dtype == torch.float32  # the model itself is left as it was
