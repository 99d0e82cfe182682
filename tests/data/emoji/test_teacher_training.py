import diffusers
import pytest
import torch
import transformers
from torch import nn

from gad.data.emoji.autoencoder import build_vae, set_scaling_factor, vae_training_images
from gad.data.emoji.backbones import BUILDERS, build_backbone
from gad.data.emoji.latents import latent_set, latent_training_batches
from gad.data.emoji.scenes import make_scene_prompt
from gad.data.emoji.teacher_training import (
    LARGEST_WEIGHT,
    SMALLEST_TIME,
    make_teacher_optimizers,
    muon_matrices,
    sample_teacher_training_times,
    teacher_denoising_loss,
    teacher_training_learning_rate,
    train_teacher,
)
from gad.diffusion.denoiser import NetworkDenoiser
from gad.diffusion.schedule import TableSchedule, from_x0, to_x0
from gad.models.pipelines import pipeline_denoiser, pipeline_family, pipeline_network
from gad.models.text_encoding import text_encoding_of_prompts

CLASSES = {
    "unet": (diffusers.StableDiffusionPipeline, transformers.CLIPTextModel, transformers.CLIPTokenizer),
    "dit": (diffusers.PixArtAlphaPipeline, transformers.T5EncoderModel, transformers.T5Tokenizer),
    "flow": (diffusers.SanaPipeline, transformers.Gemma2Model, transformers.GemmaTokenizer),
}
TABLE = TableSchedule(diffusers.DDIMScheduler(beta_schedule="scaled_linear").alphas_cumprod.double())


@pytest.fixture(scope="module")
def latents(vae):
    return latent_set(vae, 12, batch_size=5)


@pytest.fixture
def few_matrices(monkeypatch):
    """Muon takes two of the network's matrices: in bfloat16, as it does, all of them take some CPUs 14 s a step."""
    monkeypatch.setattr("gad.data.emoji.teacher_training.muon_matrices", lambda network: muon_matrices(network)[:2])


def weights(pipeline) -> torch.Tensor:
    modules = (pipeline_network(pipeline), pipeline.text_encoder)
    return torch.cat([p.detach().flatten() for module in modules for p in module.parameters()])


def trained(backbone, vae, latents, **options):
    pipeline = build_backbone(backbone, vae, seed=0)
    batch, empty = latent_training_batches(pipeline, latents, 4)
    options = {"num_steps": 3, "lr": 1e-3, "seed": 0} | options
    losses = [row["loss"] for row in train_teacher(pipeline, batch, empty, **options)]
    return pipeline, losses


def test_each_builder_gives_the_published_classes(pipeline, backbone):
    assert (type(pipeline), type(pipeline.text_encoder), type(pipeline.tokenizer)) == CLASSES[backbone]


def test_stock_diffusers_loads_and_samples_the_saved_pipeline(saved, backbone):
    loaded = diffusers.DiffusionPipeline.from_pretrained(saved)
    assert (type(loaded), type(loaded.text_encoder), type(loaded.tokenizer)) == CLASSES[backbone]
    loaded.set_progress_bar_config(disable=True)
    options = pipeline_family(loaded).sample_options
    images = loaded(["a red car"], height=64, width=64, num_inference_steps=2, output_type="np", **options).images
    assert images.shape == (1, 64, 64, 3)
    assert torch.from_numpy(images).isfinite().all()


@pytest.mark.parametrize("backbone", BUILDERS)
def test_equal_seeds_give_equal_weights(backbone, vae):
    first, again, other = (weights(build_backbone(backbone, vae, seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("backbone", BUILDERS)
def test_building_does_not_touch_the_global_random_state(backbone, vae):
    before = torch.get_rng_state()
    build_backbone(backbone, vae, seed=5)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("backbone", ["unet", "dit", "flow"])
def test_training_changes_the_weights_and_depends_on_its_seed_alone(backbone, vae, latents, few_matrices):
    first, losses = trained(backbone, vae, latents)
    torch.rand(3)  # the global state does not matter
    again, losses_again = trained(backbone, vae, latents)
    assert losses == losses_again
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(build_backbone(backbone, vae, seed=0)))
    assert not any(p.requires_grad for p in pipeline_network(first).parameters())


def test_training_stops_at_a_loss_that_is_not_finite(vae, latents):
    with pytest.raises(FloatingPointError, match="teacher loss is nan at step 0"):
        trained("flow", vae, latents * float("nan"))


def test_training_times_never_round_to_clean_data():
    t = sample_teacher_training_times(200_000, torch.Generator().manual_seed(0))
    assert t.min() >= SMALLEST_TIME and t.max() <= 1
    assert (t < 0.5).float().mean().item() == pytest.approx(0.25, abs=0.005)  # density 2t
    assert (TABLE.sigma(t.double()) > 0).all()


def test_loss_is_finite_at_the_smallest_time(pipeline, conditioning, noise):
    with torch.no_grad():
        loss = teacher_denoising_loss(
            pipeline_denoiser(pipeline), noise, noise.flip(0), torch.full((2,), SMALLEST_TIME), conditioning
        )
    assert loss.isfinite().all()


def fixed_answer(schedule, kind, answer):
    """A denoiser whose network says ``answer``, whatever it is asked."""
    return NetworkDenoiser(nn.Linear(1, 1).double(), lambda network, x_t, timestep, text: answer, schedule, kind)


def test_weighted_eps_loss_equals_v_loss_where_it_is_not_capped(conditioning):
    x0, eps, guess = torch.randn(3, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = torch.tensor([0.1, 0.6], dtype=torch.float64)
    alpha, sigma = TABLE.alpha(t).view(-1, 1, 1, 1), TABLE.sigma(t).view(-1, 1, 1, 1)
    assert (1 / alpha.square() < LARGEST_WEIGHT).all()
    x_t = alpha * x0 + sigma * eps
    same_in_v = from_x0(TABLE, to_x0(TABLE, guess, x_t, t, "eps"), x_t, t, "v")
    by_eps = teacher_denoising_loss(fixed_answer(TABLE, "eps", guess), x0, eps, t, conditioning)
    by_v = teacher_denoising_loss(fixed_answer(TABLE, "v", same_in_v), x0, eps, t, conditioning)
    assert torch.allclose(by_eps, by_v, rtol=1e-8)


def test_vae_maps_64_pixels_to_latents_of_16_and_back(vae):
    images = vae_training_images(range(2), seed=0)
    assert images.shape == (2, 3, 64, 64) and images.min() >= -1 and images.max() <= 1
    latents = vae.encode(images).latent_dist.mean
    assert latents.shape == (2, 4, 16, 16)
    assert vae.decode(latents).sample.shape == images.shape


def test_scaling_factor_gives_unit_root_mean_square():
    vae = build_vae().eval().requires_grad_(False)
    set_scaling_factor(vae, num_scenes=16)
    latents = (
        vae.encode(vae_training_images(range(16), seed=11, layout="free")).latent_dist.mean * vae.config.scaling_factor
    )
    assert latents.square().mean().sqrt().item() == pytest.approx(1, abs=1e-3)


def test_latents_do_not_depend_on_the_batch_size(vae, latents):
    assert latents.shape == (12, 4, 16, 16) and latents.dtype == torch.float16
    assert torch.allclose(latents.float(), latent_set(vae, 12, batch_size=12).float(), atol=1e-3)


def test_a_batch_pairs_each_latent_with_its_caption(pipeline, latents):
    batch, _ = latent_training_batches(pipeline, latents, 6)
    images, ids, _ = batch(torch.Generator().manual_seed(0))
    index = torch.randint(12, (6,), generator=torch.Generator().manual_seed(0))
    expected = [make_scene_prompt(int(i), seed=1).caption for i in index]
    assert pipeline.tokenizer.batch_decode(ids, skip_special_tokens=True) == expected
    assert torch.equal(images, latents[index].float())


def test_an_interrupted_training_ends_with_the_same_weights(vae, latents, tmp_path, monkeypatch, few_matrices):
    monkeypatch.setattr("gad.data.emoji.teacher_training.CHECKPOINT_EVERY", 2)

    def run(checkpoint, stop_after=None):
        pipeline = build_backbone("dit", vae, seed=0)
        batch, empty = latent_training_batches(pipeline, latents, 4)
        steps = train_teacher(pipeline, batch, empty, num_steps=5, lr=1e-3, seed=0, checkpoint=checkpoint)
        for _, _ in zip(steps, range(stop_after or 6), strict=False):
            pass
        return weights(pipeline)

    run(tmp_path / "checkpoint.pt", stop_after=3)  # stopped after a checkpoint, in the middle
    assert torch.equal(run(tmp_path / "checkpoint.pt"), run(None))


def test_learning_rate_rises_stays_and_falls_and_its_start_does_not_know_its_length():
    factors = [teacher_training_learning_rate(step, 1000) for step in range(1000)]
    assert factors[0] == 0.01 and factors[99:701] == [1.0] * 602
    assert factors[850] == pytest.approx(0.5) and 0 < factors[-1] < 0.01
    assert factors[:700] == [teacher_training_learning_rate(step, 5000) for step in range(700)]


def test_every_weight_that_learns_has_one_optimizer_and_matrices_share_their_memory(backbone, vae):
    pipeline = build_backbone(backbone, vae, seed=0)
    pipeline.text_encoder.requires_grad_(False)
    modules = torch.nn.ModuleList([pipeline_network(pipeline), pipeline.text_encoder])
    matrices = muon_matrices(modules[0])
    optimizers = make_teacher_optimizers(modules, matrices, 1.0)
    adamw, muon = ([p for group in optimizer.param_groups for p in group["params"]] for optimizer in optimizers)
    assert sum(p.numel() for p in [*adamw, *muon]) == sum(p.numel() for p in modules[0].parameters())
    assert all(view.ndim == 2 and view.data_ptr() == weight.data_ptr() for weight, view in matrices)
    assert not {p.data_ptr() for p in adamw} & {p.data_ptr() for p in muon}


def test_every_text_encoder_knows_the_order_of_words_from_its_start(pipeline):
    first, second = (pipeline.tokenizer(text).input_ids for text in ("a sun above a car", "a car above a sun"))
    (sun,) = [token for token in first if "sun" in pipeline.tokenizer.convert_ids_to_tokens(token)]
    embeds = text_encoding_of_prompts(pipeline, ["a sun above a car", "a car above a sun"]).prompt_embeds
    here, there = embeds[0, first.index(sun)], embeds[1, second.index(sun)]
    assert (here - there).norm() > 0.05 * here.norm()
