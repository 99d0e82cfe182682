import pytest
import torch
from diffusers import DDIMScheduler, DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from tiny import PROMPTS

from gad.diffusion.sampling import ddim_step, sample, sampling_timesteps, x0_of_ddim_step
from gad.diffusion.schedule import CosineSchedule, FlowSchedule, from_x0
from gad.models.exact import ExactDenoiser
from gad.models.model import Model, load_model
from gad.models.pipeline_schedule import pipeline_schedule
from gad.models.pipelines import pipeline_denoiser, pipeline_family, pipeline_network
from gad.models.students import save_student, start_student

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
DDIM = {"timestep_spacing": "trailing", "clip_sample": False, **BETAS}
ZERO_SNR = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, **DDIM}
SCHEDULERS = {
    "eps": lambda: DDIMScheduler(**DDIM),
    "v": lambda: DDIMScheduler(**ZERO_SNR),
    "flow": lambda: FlowMatchEulerDiscreteScheduler(shift=1.0),
}


def sigmas_of(num_steps: int) -> list[float]:
    """What flow pipelines are told: left to itself, FlowMatchEuler goes from 1 to 0.001 and then to 0."""
    return sampling_timesteps(num_steps)[:-1].tolist()


@pytest.fixture
def latents():
    return torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("num_steps", [1, 2, 4, 20])
@pytest.mark.parametrize("kind", SCHEDULERS)
def test_chain_matches_the_diffusers_scheduler_step_by_step(kind, num_steps, noise):
    scheduler = SCHEDULERS[kind]()
    schedule, parameterisation = pipeline_schedule(scheduler)
    assert parameterisation == kind
    points = torch.randn(5, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    denoise = ExactDenoiser(points, schedule)
    states = sample(denoise, noise, None, num_steps=num_steps)
    scheduler.set_timesteps(
        **({"sigmas": sigmas_of(num_steps)} if kind == "flow" else {"num_inference_steps": num_steps})
    )
    x = noise
    for number, (timestep, t) in enumerate(zip(scheduler.timesteps, sampling_timesteps(num_steps)[:-1], strict=True)):
        t = t.expand(2)
        assert torch.allclose(schedule.timestep(t).float(), timestep.float())
        output = from_x0(schedule, denoise(x, t), x, t, parameterisation)
        x = scheduler.step(output, timestep, x, return_dict=False)[0]
        assert torch.allclose(x, states[number + 1], atol=1e-4)


def test_one_step_of_flow_match_euler_needs_no_sigmas():
    scheduler = SCHEDULERS["flow"]()
    scheduler.set_timesteps(1)
    assert scheduler.sigmas.tolist() == [1, 0]


def test_chain_starts_at_the_noise_and_ends_at_the_last_x0(noise):
    denoise = ExactDenoiser(noise, CosineSchedule())
    states = sample(denoise, noise, None, num_steps=3)
    assert states.shape == (4, *noise.shape)
    assert torch.equal(states[0], noise)
    assert torch.allclose(states[3], denoise(states[2], sampling_timesteps(3)[2].expand(2)), atol=1e-6)


@pytest.mark.parametrize("schedule", [CosineSchedule(), FlowSchedule(), pipeline_schedule(SCHEDULERS["v"]())[0]])
def test_step_target_inverts_ddim_step(schedule, noise):
    x_t, x0 = noise.double(), noise.flip(0).double()
    for t, t_next in [(1.0, 0.5), (0.5, 0.25), (0.25, 0.0)]:
        t, t_next = (torch.full((2,), time, dtype=torch.float64) for time in (t, t_next))
        x_next = ddim_step(schedule, x_t, x0, t, t_next)
        assert torch.allclose(x0_of_ddim_step(schedule, x_t, x_next, t, t_next), x0, atol=1e-9)


def stock_latents(pipeline, latents, *, num_steps, guidance_scale):
    options = dict(pipeline_family(pipeline).sample_options, height=64, width=64, output_type="latent")
    if type(pipeline).__name__ == "SanaPipeline" and num_steps > 1:
        options["sigmas"] = sigmas_of(num_steps)
    steps = {"num_inference_steps": num_steps, "guidance_scale": guidance_scale}
    return pipeline(PROMPTS, latents=latents.clone(), **steps, **options).images


@pytest.mark.parametrize("guidance_scale", [1.0, 4.5])
@torch.no_grad()
def test_chain_equals_the_latents_of_the_stock_pipeline(pipeline, conditioning, latents, guidance_scale):
    config = pipeline_network(pipeline).config
    assert (config.in_channels, config.sample_size) == (4, 16)
    denoise = Model(pipeline_denoiser(pipeline), (4, 16, 16), pipeline).guided(guidance_scale)
    ours = sample(denoise, latents, conditioning, num_steps=4)[-1]
    stock = stock_latents(pipeline, latents, num_steps=4, guidance_scale=guidance_scale)
    assert (ours - stock).abs().max() <= 1e-4 * stock.abs().max().clamp(min=1)


@torch.no_grad()
def test_a_saved_one_step_student_is_a_stock_pipeline(saved, smoke, conditioning, latents, tmp_path):
    teacher = load_model(saved)
    student = start_student(teacher, smoke.student, seed=0)
    for parameter in student.network.parameters():
        parameter.mul_(1.05)
    before = sample(teacher.denoiser, latents, conditioning, num_steps=1)[-1]
    save_student(student, teacher, tmp_path / "student")
    assert torch.equal(sample(teacher.denoiser, latents, conditioning, num_steps=1)[-1], before)
    stock = DiffusionPipeline.from_pretrained(tmp_path / "student")
    stock.set_progress_bar_config(disable=True)
    ours = sample(student, latents, conditioning, num_steps=1)[-1]
    theirs = stock_latents(stock, latents, num_steps=1, guidance_scale=1.0)
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max().clamp(min=1)
    assert (ours - before).abs().max() > 1e-3


def test_a_chain_that_stops_early_is_the_start_of_the_whole_one(point_teacher):
    noise = torch.randn(3, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    whole = sample(point_teacher.denoiser, noise, None, num_steps=4)
    for stop in range(5):
        assert torch.equal(sample(point_teacher.denoiser, noise, None, num_steps=4, stop=stop), whole[: stop + 1])
