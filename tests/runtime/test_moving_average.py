"""Our moving average is the one of diffusers."""

import pytest
import torch
from diffusers.training_utils import EMAModel

from gad.runtime import moving_average
from gad.runtime.moving_average import MovingAverage


def weights(step: int) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(step)
    shapes = [(3, 4), (5,), (2, 3)]
    found = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    return [found[0], found[1].requires_grad_(False), found[2]]


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(map(torch.equal, one, other))


@pytest.mark.parametrize("group", [1, 2**26])
@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_it_has_the_bits_of_diffusers_average_however_tensors_are_grouped(decay, group, monkeypatch):
    monkeypatch.setattr(moving_average, "GROUP", group)
    ours, stock = MovingAverage(weights(0), decay=decay), EMAModel(weights(0), decay=decay)
    for step in range(1, 30):
        ours.step(weights(step)), stock.step(weights(step))
        assert equal(ours.shadow_params, stock.shadow_params)
    filled, expected = weights(100), weights(100)
    ours.copy_to(filled), stock.copy_to(expected)
    assert equal(filled, expected)


def test_in_one_pass_it_is_the_same_average_but_for_rounding():
    ours, fused = MovingAverage(weights(0), decay=0.9), MovingAverage(weights(0), decay=0.9, fused=True)
    for step in range(1, 30):
        ours.step(weights(step)), fused.step(weights(step))
    for one, other in zip(ours.shadow_params, fused.shadow_params, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-6)


def test_it_goes_on_from_a_state_that_is_kept_apart():
    whole, first = MovingAverage(weights(0), decay=0.9), MovingAverage(weights(0), decay=0.9)
    for step in range(1, 4):
        whole.step(weights(step)), first.step(weights(step))
    second = MovingAverage(weights(9), decay=0.9)
    second.load_state_dict(first.state_dict())
    first.step(weights(50))  # changes its own tensors alone
    for step in range(4, 8):
        whole.step(weights(step)), second.step(weights(step))
    assert equal(whole.shadow_params, second.shadow_params)
