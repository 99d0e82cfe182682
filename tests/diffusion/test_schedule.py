import copy

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

from gad.diffusion.denoiser import NetworkDenoiser
from gad.diffusion.schedule import CosineSchedule, FlowSchedule, TableSchedule, add_noise, from_x0, to_x0
from gad.models.pipeline_schedule import pipeline_schedule

DDIM = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
SCHEDULES = {
    "cosine": CosineSchedule(),
    "flow": FlowSchedule(),
    "table": TableSchedule(DDIM.alphas_cumprod.double()),
}
TIMES = torch.tensor([0.02, 0.31, 0.5, 0.94], dtype=torch.float64)


@pytest.fixture
def latents():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 4, 4, 3, 3, generator=generator, dtype=torch.float64).unbind()


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("kind", ["x0", "eps", "v", "flow"])
def test_x0_eps_v_flow_round_trip(name, kind, latents):
    if kind == "v" and name == "flow" or kind == "flow" and name != "flow":
        pytest.skip("v belongs to variance preserving schedules, flow to the flow schedule")
    schedule, (x0, eps) = SCHEDULES[name], latents
    x_t = add_noise(schedule, x0, eps, TIMES)
    output = from_x0(schedule, x0, x_t, TIMES, kind)
    assert torch.allclose(to_x0(schedule, output, x_t, TIMES, kind), x0, atol=1e-10)


@pytest.mark.parametrize("name", SCHEDULES)
def test_outputs_are_what_their_names_say(name, latents):
    schedule, (x0, eps) = SCHEDULES[name], latents
    x_t = add_noise(schedule, x0, eps, TIMES)
    alpha, sigma = (scale.view(-1, 1, 1, 1) for scale in (schedule.alpha(TIMES), schedule.sigma(TIMES)))
    assert torch.allclose(from_x0(schedule, x0, x_t, TIMES, "eps"), eps, atol=1e-10)
    if name == "flow":
        assert torch.allclose(from_x0(schedule, x0, x_t, TIMES, "flow"), eps - x0, atol=1e-10)
    else:
        assert torch.allclose(from_x0(schedule, x0, x_t, TIMES, "v"), alpha * eps - sigma * x0, atol=1e-10)


@pytest.mark.parametrize("name", ["cosine", "table"])
def test_diffusion_schedules_preserve_variance(name):
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    variance = SCHEDULES[name].alpha(t).square() + SCHEDULES[name].sigma(t).square()
    assert torch.allclose(variance, torch.ones_like(t), atol=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
def test_signal_falls_and_noise_rises_with_t(name):
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    assert (SCHEDULES[name].alpha(t).diff() < 0).all()
    assert (SCHEDULES[name].sigma(t).diff() > 0).all()


@pytest.mark.parametrize("name", SCHEDULES)
def test_time_zero_is_clean_data(name, latents):
    x0, eps = latents
    assert torch.equal(add_noise(SCHEDULES[name], x0, eps, torch.zeros(4, dtype=torch.float64)), x0)


def test_table_schedule_agrees_with_ddim_at_every_timestep():
    timesteps = torch.arange(1000)
    x0, eps = torch.randn(2, 1000, 1, 2, 2, generator=torch.Generator().manual_seed(0)).unbind()
    schedule, kind = pipeline_schedule(DDIM)
    t = (timesteps + 1) / 1000
    assert kind == "eps"
    assert torch.equal(schedule.timestep(t), timesteps)
    assert torch.allclose(add_noise(schedule, x0, eps, t), DDIM.add_noise(x0, eps, timesteps), atol=1e-6)


def test_zero_terminal_snr_table_ends_in_pure_noise():
    scheduler = DDIMScheduler(rescale_betas_zero_snr=True, prediction_type="v_prediction")
    schedule, kind = pipeline_schedule(scheduler)
    assert kind == "v"
    assert schedule.alpha(torch.ones(1)).item() == pytest.approx(0, abs=1e-6)


def test_flow_schedule_agrees_with_flow_match_euler():
    scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0)
    x0, eps = torch.randn(2, 1000, 1, 2, 2, generator=torch.Generator().manual_seed(0)).unbind()
    schedule, kind = pipeline_schedule(scheduler)
    t = scheduler.timesteps / 1000
    assert kind == "flow"
    assert torch.allclose(schedule.timestep(t), scheduler.timesteps)
    assert torch.allclose(
        add_noise(schedule, x0, eps, t), scheduler.scale_noise(x0, scheduler.timesteps, eps), atol=1e-6
    )


def test_nothing_of_a_derivative_stays_in_a_schedule():
    schedule, noise = TableSchedule(DDIM.alphas_cumprod), torch.randn(2, 1, 2, 2, dtype=torch.float64)
    t = torch.full((2,), 0.5, dtype=torch.float64)
    _, pull_back = torch.func.vjp(lambda z: add_noise(schedule, 2 * z, z, t), noise)
    pull_back(noise)
    assert torch.equal(copy.deepcopy(schedule).alphas_cumprod, schedule.alphas_cumprod)


def test_a_networks_table_goes_where_its_weights_go():
    table = TableSchedule(DDIM.alphas_cumprod)
    denoiser = NetworkDenoiser(torch.nn.Linear(2, 2), lambda network, *asked: network(asked[0]), table, "eps")
    assert denoiser.to("meta").schedule.alphas_cumprod.device.type == "meta"
    assert table.alphas_cumprod.device.type == "cpu"
    assert denoiser.half().schedule.alphas_cumprod.dtype == torch.float32  # numbers of a schedule are never rounded
