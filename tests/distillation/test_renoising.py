"""Samples of a student at times of its own are re-noised by the process of teacher and fake score."""

import pytest
import torch

from gad.diffusion.retimed_schedule import RetimedSchedule
from gad.diffusion.sampling import ddim_step, sampling_timesteps
from gad.diffusion.schedule import CosineSchedule, add_noise
from gad.distillation.batch_source import draw_batch
from gad.distillation.fake_score import denoising_loss_of_fake
from gad.distillation.losses import min_snr_weight
from gad.distillation.renoising import MARGIN, Renoised, Rollout, renoised_rollout

PROCESS, OWN = CosineSchedule(), (0.6, 0.3)
SCHEDULE = RetimedSchedule(PROCESS, OWN)


@pytest.fixture
def batch(point_pairs):
    return draw_batch(point_pairs, None, PROCESS, variant="baseline", batch_size=6, key=(0, 0))


def generator() -> torch.Generator:
    """The same numbers at every call."""
    return torch.Generator().manual_seed(0)


def added_noise(batch):
    """The noise that is drawn after the times."""
    numbers = generator()
    batch.uniform(numbers)
    return batch.normal(numbers)


def rollout_of(node: int, steps: int) -> Rollout:
    x0, x_t = torch.randn(2, 6, 2, 1, 1, generator=torch.Generator().manual_seed(1))
    times = sampling_timesteps(steps)
    return Rollout(x0, x_t, times[node].expand(6), times[node + 1].expand(6))


@pytest.mark.parametrize("onward", [True, False])
def test_one_step_at_an_early_timestep_is_renoised_over_all_times_of_the_process(batch, onward):
    schedule, rollout = RetimedSchedule(PROCESS, (0.4,)), rollout_of(0, 1)
    found = renoised_rollout(rollout, schedule, batch, generator(), onward=onward)
    assert found.t.max() > 0.6 and found.t.max() <= 1 - MARGIN
    expected = add_noise(PROCESS, rollout.x0, added_noise(batch), found.t)
    assert torch.allclose(found.x_t, expected, atol=1e-6)


@pytest.mark.parametrize("node", [0, 1])
def test_a_step_onward_ends_at_the_students_own_next_time(batch, node):
    rollout = rollout_of(node, 2)
    found = renoised_rollout(rollout, SCHEDULE, batch, generator(), onward=True)
    own_next = (*OWN, 0.0)[node + 1]
    assert found.t.min() > own_next and found.t.max() <= 1 - node / 2
    at, to = (torch.full((6,), time) for time in (OWN[node], own_next))
    middle = ddim_step(PROCESS, rollout.x_t, rollout.x0, at, to)
    ratio = PROCESS.alpha(found.t) / PROCESS.alpha(to)
    added = (PROCESS.sigma(found.t) ** 2 - (ratio * PROCESS.sigma(to)) ** 2).clamp(min=0).sqrt()
    expected = ratio.view(-1, 1, 1, 1) * middle + added.view(-1, 1, 1, 1) * added_noise(batch)
    assert torch.allclose(found.x_t, expected, atol=1e-6)


def test_the_fake_score_is_weighed_by_the_noise_that_it_sees(batch):
    class Ones:
        schedule = PROCESS

        def __call__(self, x_t, t, conditioning):
            return torch.ones_like(x_t)

    t, x0 = torch.linspace(0.1, 0.9, 6), torch.zeros(6, 2, 1, 1)
    loss = denoising_loss_of_fake(Ones(), Renoised(x0, x0, t, torch.ones(6)), batch, SCHEDULE)
    assert torch.equal(loss, min_snr_weight(PROCESS, t))
