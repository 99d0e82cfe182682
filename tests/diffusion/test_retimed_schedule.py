"""A student's own times are those of its process, and our DDIM steps are DDIM steps at them."""

import pytest
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler

from gad.diffusion.retimed_schedule import (
    RetimedSchedule,
    process_schedule,
    process_time,
    schedule_at_own_times,
)
from gad.diffusion.sampling import sample, sampling_timesteps
from gad.diffusion.schedule import CosineSchedule, FlowSchedule, TableSchedule, to_x0

TABLE = TableSchedule(DDPMScheduler().alphas_cumprod)


def test_the_times_of_our_sampler_are_the_students_own_and_clean_data_stays_clean():
    schedule = RetimedSchedule(CosineSchedule(), (0.9, 0.6, 0.2))
    assert schedule.own_time(sampling_timesteps(3)).tolist() == pytest.approx([0.9, 0.6, 0.2, 0.0])
    t = torch.linspace(0, 1, 50, dtype=torch.float64)
    assert torch.allclose(schedule.time(schedule.timestep(t)), t)
    assert torch.allclose(schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2, torch.ones_like(t))
    assert (schedule.own_time(t).diff() > 0).all()


def test_a_timestep_on_pure_noise_is_what_the_network_gets():
    schedule = schedule_at_own_times(TABLE, (TABLE.time(torch.tensor([400])).item(),))
    assert schedule.timestep(torch.ones(2)).tolist() == [400, 400]
    assert torch.equal(schedule.alpha(torch.ones(1)), DDPMScheduler().alphas_cumprod[400:401].sqrt())


@pytest.mark.parametrize("timesteps", [[400], [899, 674, 449, 224], [999, 759, 499, 259, 60]])
def test_our_sampler_is_the_stock_first_order_one_at_those_timesteps(timesteps):
    schedule = RetimedSchedule(TABLE, tuple(TABLE.time(torch.tensor(timesteps, dtype=torch.float64)).tolist()))
    stock = DPMSolverMultistepScheduler(solver_order=1, final_sigmas_type="zero")
    stock.set_timesteps(timesteps=timesteps)
    noise = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0))

    class Tanh:
        def __init__(self):
            self.schedule = schedule

        def __call__(self, x_t, t, conditioning):
            return to_x0(schedule, torch.tanh(x_t), x_t, t, "eps")

    state = noise
    for timestep in stock.timesteps:
        state = stock.step(torch.tanh(state), timestep, state, return_dict=False)[0]
    ours = sample(Tanh(), noise, None, num_steps=len(timesteps))[-1]
    assert torch.allclose(ours, state, atol=1e-4 * state.abs().max().item())


def test_times_near_our_own_are_taken_for_them_and_impossible_ones_refused():
    assert schedule_at_own_times(TABLE, (1.0, 0.76, 0.5, 0.26)) is TABLE
    assert isinstance(schedule_at_own_times(FlowSchedule(), (1.0, 0.9)), RetimedSchedule)
    for own in ((0.5, 0.6), (1.1,), (0.5, 0.0), (0.5, 0.5)):
        with pytest.raises(ValueError, match="fall from at most 1 to above 0"):
            schedule_at_own_times(TABLE, own)


def test_the_process_has_no_times_of_its_own():
    schedule, t = RetimedSchedule(FlowSchedule(), (0.4,)), torch.tensor([0.5, 1.0])
    assert process_schedule(schedule) == FlowSchedule() == process_schedule(FlowSchedule())
    assert process_time(schedule, t).tolist() == pytest.approx([0.2, 0.4])
    assert process_time(FlowSchedule(), t) is t
    assert schedule.to("cpu").own == (0.4,)
