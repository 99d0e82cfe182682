import diffusers
import pytest
import torch
from torch.nn import functional as F

from gad.data.emoji.autoencoder import save_vae, vae_training_images
from gad.data.emoji.backbones import BUILDERS, build_backbone
from gad.data.emoji.compact_autoencoder import (
    COMPONENTS,
    POSTERIOR_STD,
    build_compact_projection,
    build_compact_vae,
    patch_principal_components,
    set_compact_linear_encoder,
    train_compact_decoder,
)
from gad.data.emoji.latents import latent_set, latent_training_batches
from gad.data.emoji.teacher_training import muon_matrices, train_teacher
from gad.models.pipeline_loading import load_pipeline
from gad.models.pipelines import pipeline_family, pipeline_network
from gad.models.saved_folders import save_diffusers_pipeline

IMAGES = vae_training_images(range(64), seed=5, layout="free")


@pytest.fixture(scope="module")
def compact():
    torch.manual_seed(0)
    return build_compact_projection(num_scenes=64).eval().requires_grad_(False)


def project(images, mean, projection):
    """The latents as `principal_components` defines them."""
    return torch.einsum("kd,bdhw->bkhw", projection, F.pixel_unshuffle(images, 8) - mean[None, :, None, None])


def test_the_encoder_is_the_projection_on_principal_components():
    mean, projection = patch_principal_components(IMAGES)
    vae = build_compact_vae()
    set_compact_linear_encoder(vae, mean, projection)
    posterior, expected = vae.encode(IMAGES).latent_dist, project(IMAGES, mean, projection)
    assert posterior.mean.shape == (64, COMPONENTS, 8, 8)
    assert (posterior.mean - expected).square().mean().sqrt() < 0.005 * expected.square().mean().sqrt()
    assert torch.allclose(posterior.std, torch.tensor(POSTERIOR_STD), rtol=1e-3)


def test_latents_have_unit_scale_and_less_spread_between_channels_than_the_pixels():
    latents = project(IMAGES, *patch_principal_components(IMAGES))
    assert latents.square().mean().sqrt() == pytest.approx(1, abs=0.01)
    scales = latents.square().mean((0, 2, 3)).sqrt()
    assert 2 < scales[0] / scales[-1] < 6


def test_twelve_components_hold_the_images_to_more_than_23_db():
    mean, projection = patch_principal_components(IMAGES)
    latents, inverse = project(IMAGES, mean, projection), torch.linalg.pinv(projection)
    back = F.pixel_shuffle(torch.einsum("dk,bkhw->bdhw", inverse, latents) + mean[None, :, None, None], 8)
    assert 10 * torch.log10(4 / F.mse_loss(back, IMAGES)) > 23


def test_a_decoder_learns_while_the_encoder_stays(compact):
    vae = build_compact_vae()
    vae.load_state_dict(compact.state_dict())
    before = vae.encode(IMAGES[:4]).latent_dist.mean
    vae.decoder.requires_grad_(True)
    losses = [row["loss"] for row in train_compact_decoder(vae, num_steps=12, batch_size=4, lr=2e-3, seed=0)]
    assert losses[-1] < 0.8 * losses[0]
    assert torch.equal(vae.encode(IMAGES[:4]).latent_dist.mean, before)


def test_half_precision_keeps_the_projection(compact, tmp_path):
    save_vae(compact, tmp_path / "vae")
    loaded = diffusers.AutoencoderKL.from_pretrained(tmp_path / "vae").float()
    latents = [vae.encode(IMAGES[:8]).latent_dist.mean for vae in (compact, loaded)]
    assert torch.allclose(*latents, atol=1e-4)


@pytest.mark.parametrize("backbone", BUILDERS)
def test_a_compact_teacher_trains_and_stock_diffusers_samples_it(backbone, compact, tmp_path, monkeypatch):
    monkeypatch.setattr("gad.data.emoji.teacher_training.muon_matrices", lambda network: muon_matrices(network)[:2])
    pipeline = build_backbone(backbone, compact, seed=0)
    assert pipeline_network(pipeline).config.sample_size == 8
    assert sum(p.numel() for p in pipeline_network(pipeline).parameters()) < 2.6e6
    batch, empty = latent_training_batches(pipeline, latent_set(compact, 6), 4)
    losses = [row["loss"] for row in train_teacher(pipeline, batch, empty, num_steps=2, lr=1e-3, seed=0)]
    assert all(0 < loss < 100 for loss in losses)
    save_diffusers_pipeline(pipeline, tmp_path / "teacher")
    loaded = diffusers.DiffusionPipeline.from_pretrained(tmp_path / "teacher")
    loaded.set_progress_bar_config(disable=True)
    options = pipeline_family(load_pipeline(tmp_path / "teacher")).sample_options
    images = loaded(["a red car"], height=64, width=64, num_inference_steps=2, output_type="np", **options).images
    assert images.shape == (1, 64, 64, 3) and torch.from_numpy(images).isfinite().all()
