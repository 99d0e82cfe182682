"""SDXL, SD 3 and FLUX.1 as teachers and students: whatever the stock pipeline makes, ours does too."""

import hub_folders
import pytest
import torch
from diffusers import DiffusionPipeline, FluxPipeline
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from tiny import PROMPTS

from gad.config import ExternalStudent
from gad.diffusion.conditioning import Conditioning
from gad.diffusion.guidance import Guided, GuidedByInput, guided_alike, guided_denoiser_on_device, unguided
from gad.diffusion.jvp import exact_jvp, exact_jvps
from gad.diffusion.sampling import sample
from gad.diffusion.schedule import FlowSchedule
from gad.models.external import load_external_student
from gad.models.external_sampler import external_sampler_steps
from gad.models.flux import pack_flux_latents, unpack_flux_latents
from gad.models.model import Model, load_model
from gad.models.pipeline_loading import load_pipeline
from gad.models.pipeline_schedule import dynamic_shift, flow_shift, pipeline_stock_scheduler
from gad.models.pipelines import pipeline_denoiser, pipeline_network
from gad.models.students import save_student, student_usage_line
from gad.models.text_encoding import text_encoding_of_prompts

SIDE = hub_folders.SIDE
NOISE = torch.randn(2, 4, SIDE, SIDE, generator=torch.Generator().manual_seed(5))
TIMES = torch.tensor([0.3, 0.9])
NEGATIVE = "a blue cat"


def without_t5():
    """SD 3 whose third text encoder is left out, as diffusers allows."""
    pipeline = hub_folders.BUILDERS["sd35_sid"]()
    pipeline.register_modules(text_encoder_3=None, tokenizer_3=None)
    return pipeline


BUILDERS = {
    "sdxl": hub_folders.BUILDERS["sdxl_tdm"],
    "sd3": hub_folders.BUILDERS["sd35_sid"],
    "sd3 without T5": without_t5,
    "flux dev": hub_folders.flux,
    "flux schnell": lambda: hub_folders.flux(guidance_embeds=False),
}


@pytest.fixture(scope="module", params=BUILDERS)
def folder(request, tmp_path_factory):
    """A folder that diffusers wrote of each kind of pipeline, untrained."""
    place = tmp_path_factory.mktemp("families") / request.param.replace(" ", "_")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BUILDERS[request.param]().save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def teacher(folder) -> Model:
    return load_model(folder, side=SIDE)


def stock_images(pipeline, noise, prompts=PROMPTS, **options):
    return hub_folders.stock_images(pipeline, noise, prompts, **options)


def images(model, latents):
    return (model.decode(latents) + 1) / 2


@torch.no_grad()
def test_conditioning_is_what_the_stock_pipeline_encodes(teacher):
    pipeline, found = teacher.pipeline, teacher.condition(PROMPTS)
    options = {} if "XL" in type(pipeline).__name__ else {"prompt_2": None, "max_sequence_length": 20}
    if hasattr(pipeline, "text_encoder_3"):
        tokens = 20 if pipeline.text_encoder_3 is not None else 256
        options |= {"prompt_3": None, "do_classifier_free_guidance": False, "max_sequence_length": tokens}
    encoded = pipeline.encode_prompt(PROMPTS, **options)
    pooled = encoded[1] if isinstance(pipeline, FluxPipeline) else encoded[2]
    assert torch.equal(found.prompt_embeds, encoded[0]) and torch.equal(found.pooled_prompt_embeds, pooled)
    assert found.prompt_attention_mask is None
    singly = text_encoding_of_prompts(pipeline, PROMPTS, batch_size=1)
    assert torch.allclose(singly.prompt_embeds, found.prompt_embeds, atol=1e-5)


def stock_guidance(model, scale):
    """Options of the stock pipeline for guidance of that strength: FLUX calls the one of two calls the true one."""
    by_input = getattr(pipeline_network(model.pipeline).config, "guidance_embeds", None)
    if by_input is None or by_input or scale == 1:
        return {"guidance_scale": scale}
    return {"true_cfg_scale": scale, "negative_prompt": [""] * len(PROMPTS)}


@pytest.mark.parametrize("scale", [1.0, 3.5])
@torch.no_grad()
def test_the_pipelines_own_sampler_makes_the_stock_pipelines_images(teacher, scale):
    conditioning, uncond = teacher.condition(PROMPTS), getattr(teacher.guided(2.0), "uncond", None)
    options = {"num_steps": 3, "guidance_scale": scale, "uncond": uncond}
    *_, (_, latents) = external_sampler_steps(teacher.pipeline, NOISE, conditioning, **options)
    theirs = stock_images(teacher.pipeline, NOISE, num_inference_steps=3, **stock_guidance(teacher, scale))
    assert (images(teacher, latents) - theirs).abs().max() <= 1e-4


@pytest.mark.parametrize("scale", [1.0, 3.5])
@torch.no_grad()
def test_our_sampler_makes_the_stock_pipelines_images_at_our_times(teacher, scale):
    latents = sample(teacher.guided(scale), NOISE, teacher.condition(PROMPTS), num_steps=4)[-1]
    options, own = {"num_inference_steps": 4, **stock_guidance(teacher, scale)}, teacher.pipeline.scheduler
    if isinstance(teacher.denoiser.schedule, FlowSchedule):  # by its own scheduler, whose shift is the schedule's
        options["sigmas"] = [1.0, 0.75, 0.5, 0.25]
    else:
        teacher.pipeline.scheduler = pipeline_stock_scheduler(teacher.pipeline, teacher.denoiser.schedule)
    theirs = stock_images(teacher.pipeline, NOISE, **options)
    teacher.pipeline.scheduler = own
    assert (images(teacher, latents) - theirs).abs().max() <= 1e-4


@torch.no_grad()
def test_a_negative_prompt_is_guided_away_from_as_in_the_stock_pipeline(teacher):
    against = teacher.condition([NEGATIVE] * 2)
    latents = sample(Guided(teacher.denoiser, against, 3.0), NOISE, teacher.condition(PROMPTS), num_steps=1)[-1]
    is_flux = isinstance(teacher.pipeline, FluxPipeline)
    guidance = {"true_cfg_scale": 3.0, "guidance_scale": 1.0} if is_flux else {"guidance_scale": 3.0}
    own = teacher.pipeline.scheduler
    teacher.pipeline.scheduler = pipeline_stock_scheduler(teacher.pipeline, teacher.denoiser.schedule)
    options = {"num_inference_steps": 1, "negative_prompt": [NEGATIVE] * 2, **guidance}
    theirs = stock_images(teacher.pipeline, NOISE, **options)
    teacher.pipeline.scheduler = own
    assert (images(teacher, latents) - theirs).abs().max() <= 1e-4


@pytest.mark.parametrize("num_steps", [1, 4])
def test_a_student_is_a_folder_that_the_stock_pipeline_samples_alike(teacher, num_steps, tmp_path):
    student = teacher.denoiser.copied()
    with torch.no_grad():
        for parameter in student.network.parameters():
            parameter.mul_(1.01)
    save_student(student, teacher, tmp_path / "student")
    loaded = load_model(tmp_path / "student", teacher=teacher)
    assert loaded.pipeline.text_encoder is teacher.pipeline.text_encoder
    assert loaded.pipeline.text_encoder_2 is teacher.pipeline.text_encoder_2
    assert loaded.latent_shape == teacher.latent_shape
    if isinstance(student.schedule, FlowSchedule):
        assert loaded.denoiser.schedule.shift == pytest.approx(student.schedule.shift)
    left_out = (
        {}
        if "text_encoder_3" not in loaded.pipeline.components
        else dict.fromkeys(
            name for name in ("text_encoder_3", "tokenizer_3") if loaded.pipeline.components[name] is None
        )
    )
    stock = DiffusionPipeline.from_pretrained(tmp_path / "student", **left_out)
    options = eval(student_usage_line(loaded, num_steps).replace("pipe(prompt, ", "dict("))
    with torch.no_grad():
        ours = sample(loaded.denoiser, NOISE, loaded.condition(PROMPTS), num_steps=num_steps)[-1]
        theirs = stock_images(stock, NOISE, **options)
    assert (images(loaded, ours) - theirs).abs().max() <= 1e-4


def test_the_exact_derivative_is_the_central_difference(folder):
    pipeline = load_pipeline(folder)
    pipeline_network(pipeline).double()
    denoiser, conditioning = pipeline_denoiser(pipeline, side=SIDE), text_encoding_of_prompts(pipeline, PROMPTS)
    noise, t, generator = NOISE.double(), TIMES.double(), torch.Generator().manual_seed(1)
    direction, h = torch.randn(noise.shape, generator=generator, dtype=torch.float64), 1e-3

    def phi(x):
        return denoiser(x, t, conditioning)

    found = exact_jvp(phi, noise, direction)
    with torch.no_grad():
        central = (phi(noise + h * direction) - phi(noise - h * direction)) / (2 * h)
    assert torch.allclose(found.x0, phi(noise).detach(), atol=1e-10)
    # SD 3 and FLUX compute norms and rotations in float32 also in a float64 network: a smaller h would tell no more
    assert (found.jvp - central).norm() <= 5e-6 * central.norm()
    value, several = exact_jvps(phi, noise, torch.stack([direction, -2 * direction]))
    assert torch.allclose(several[0], found.jvp, atol=1e-5) and torch.allclose(several[1], -2 * found.jvp, atol=1e-5)
    assert torch.allclose(value, found.x0, atol=1e-6)


def test_samples_in_a_batch_do_not_mix(teacher):
    conditioning = teacher.condition(PROMPTS)
    with torch.no_grad():
        both = teacher.denoiser(NOISE, TIMES, conditioning)
        alone = teacher.denoiser(NOISE[1:], TIMES[1:], conditioning[[1]])
    assert torch.allclose(both[1:], alone, atol=1e-5)


def test_flux_latents_are_packed_as_the_stock_pipeline_packs_them():
    latents = torch.randn(2, 3, 6, 4)
    packed = pack_flux_latents(latents)
    assert torch.equal(packed, FluxPipeline._pack_latents(latents, 2, 3, 6, 4))
    assert torch.equal(unpack_flux_latents(packed, 6, 4), latents)


@pytest.mark.parametrize("tokens", [16, 1024, 4096])
def test_the_shift_of_flux_is_that_of_the_stock_pipeline_by_the_images_size(tokens):
    scheduler = hub_folders.flux().scheduler
    assert dynamic_shift(scheduler, tokens) == pytest.approx(calculate_shift(tokens))
    scheduler.set_timesteps(sigmas=[1.0, 0.5, 0.25], mu=calculate_shift(tokens))
    schedule, t = FlowSchedule(flow_shift(scheduler, tokens)), torch.tensor([1.0, 0.5, 0.25, 0.0])
    assert torch.allclose(schedule.sigma(t), scheduler.sigmas, atol=1e-6)
    assert torch.allclose(schedule.time(schedule.timestep(t)), t, atol=1e-6)
    assert torch.allclose(schedule.alpha(t) + schedule.sigma(t), torch.ones(4))


@pytest.mark.parametrize("folder", ["flux dev"], indirect=True, scope="module")
@torch.no_grad()
def test_a_network_that_reads_its_guidance_is_guided_in_one_call(teacher):
    conditioning, calls = teacher.condition(PROMPTS), []
    hook = teacher.denoiser.network.register_forward_hook(lambda *inputs: calls.append(1))
    guided = teacher.guided(3.5)(NOISE, TIMES, conditioning)
    hook.remove()
    assert len(calls) == 1
    plain = teacher.denoiser(NOISE, TIMES, conditioning)
    told = Conditioning(**conditioning.tensors, guidance=torch.full((2,), 3.5))
    assert torch.equal(guided, teacher.denoiser(NOISE, TIMES, told)) and not torch.allclose(guided, plain)
    assert torch.equal(plain, teacher.guided(1.0)(NOISE, TIMES, conditioning))


@pytest.mark.parametrize("folder", ["sdxl"], indirect=True, scope="module")
def test_sdxl_is_guided_away_from_zeros_where_its_folder_says_so(folder):
    teacher = load_model(folder)
    assert all(not tensor.any() for tensor in teacher.guided(2.0).uncond.tensors.values())
    teacher.pipeline.register_to_config(force_zeros_for_empty_prompt=False)
    empty = teacher.condition([""])
    assert torch.equal(teacher.guided(2.0).uncond.prompt_embeds, empty.prompt_embeds)
    assert torch.equal(teacher.guided(2.0).uncond.pooled_prompt_embeds, empty.pooled_prompt_embeds)


def refused(pipeline, place, **options) -> str:
    pipeline.save_pretrained(place)
    with pytest.raises(ValueError) as error:
        load_model(place, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_a_family_cannot_do_without_is_refused_in_one_line(tmp_path):
    blind = hub_folders.BUILDERS["sdxl_tdm"]()
    blind.register_modules(text_encoder_2=None, tokenizer_2=None)
    assert "there is no text_encoder_2" in refused(blind, tmp_path / "blind")
    mute = hub_folders.flux()
    mute.register_modules(tokenizer_2=None)
    assert "there is a text_encoder_2 and no tokenizer_2" in refused(mute, tmp_path / "mute")
    small = hub_folders.BUILDERS["sdxl_tdm"]()
    small.register_modules(vae=hub_folders.BUILDERS["sd21_ladd"]().vae)
    assert "reads its image's size at 8 pixels to a latent's side, its autoencoder has 1" in refused(
        small, tmp_path / "small"
    )
    assert "latents of side 7 do not part" in refused(hub_folders.flux(), tmp_path / "odd", side=7)


def test_a_folder_of_flux_is_as_large_as_the_stock_pipeline_has_it_unless_another_side_is_wanted(tmp_path):
    hub_folders.flux().save_pretrained(tmp_path / "flux")
    assert load_model(tmp_path / "flux").latent_shape == (4, 128, 128)
    assert load_model(tmp_path / "flux", side=SIDE).latent_shape == (4, SIDE, SIDE)


@pytest.mark.parametrize("folder", ["flux dev", "sd3"], indirect=True, scope="module")
@torch.no_grad()
def test_another_network_is_guided_like_the_teacher(teacher):
    """A fake score that equals the teacher has to stay equal under its guidance (SiD)."""
    guided, fake = teacher.guided(3.5), teacher.denoiser.copied()
    alike, conditioning = guided_alike(fake, guided), teacher.condition(PROMPTS)
    assert unguided(alike) is fake and guided_alike(fake, teacher.denoiser) is fake
    assert type(alike) is (GuidedByInput if isinstance(teacher.pipeline, FluxPipeline) else Guided)
    assert torch.equal(alike(NOISE, TIMES, conditioning), guided(NOISE, TIMES, conditioning))
    moved = guided_denoiser_on_device(guided, "cpu")
    assert type(moved) is type(guided) and torch.equal(
        moved(NOISE, TIMES, conditioning), guided(NOISE, TIMES, conditioning)
    )


@pytest.mark.parametrize("folder", ["flux dev", "sd3"], indirect=True, scope="module")
@torch.no_grad()
def test_an_external_models_trajectory_is_told_in_the_teachers_times(folder, teacher):
    """Schnell beside dev: their own times differ, equal times have to be equal noise levels."""
    entry = ExternalStudent(name="other", source=str(folder), num_steps=3, latent_side=SIDE, guidance_scale=2.0)
    student = load_external_student(entry, teacher)
    schedule, states, times = student.denoiser.path(NOISE, student.condition(PROMPTS))
    assert schedule == teacher.denoiser.schedule and len(states) == 4 and times[0] == 1 and times[-1] == 0
    own = student.pipeline.scheduler
    options = {"mu": dynamic_shift(own, (SIDE // 2) ** 2)} if own.config.use_dynamic_shifting else {}
    given = {"sigmas": [1.0, 2 / 3, 1 / 3]} if options else {"num_inference_steps": 3}
    own.set_timesteps(**given, **options)
    assert torch.allclose(schedule.sigma(torch.tensor(times)), own.sigmas, atol=1e-5)
