"""The features that LADD's discriminator reads from its frozen teacher."""

import hub_folders
import pytest
import torch
from tiny import PROMPTS

from gad.distillation import discriminator
from gad.models.pipeline_loading import load_pipeline
from gad.models.pipelines import pipeline_denoiser, pipeline_network
from gad.models.text_encoding import text_encoding_of_prompts

T = torch.tensor([0.3, 0.6])


def read(pipeline, noise, conditioning):
    """The features, and the gradient of their sum in the noise."""
    x = noise.clone().requires_grad_()
    maps = discriminator.discriminator_features(pipeline_denoiser(pipeline))(x, T, conditioning)
    return maps, torch.autograd.grad(sum(feature.sum() for feature in maps), x)[0]


def test_features_and_their_gradient_are_those_of_a_whole_call(pipeline, noise, conditioning, monkeypatch):
    short, gradient = read(pipeline, noise, conditioning)
    monkeypatch.setattr(discriminator, "_may_stop", lambda network: False)
    whole, slow_gradient = read(pipeline, noise, conditioning)
    assert len(short) == len(discriminator.discriminator_blocks(pipeline_network(pipeline)))
    assert all(torch.equal(*pair) for pair in zip(short, whole, strict=True)) and torch.equal(gradient, slow_gradient)


def test_a_unet_is_not_asked_for_its_way_up(pipelines, noise, monkeypatch):
    unet, asked = pipelines["unet"].unet, []
    for block in unet.up_blocks:
        monkeypatch.setattr(block, "forward", lambda *_, **__: asked.append(1))
    words = torch.zeros(2, 4, unet.config.cross_attention_dim)
    denoiser = pipeline_denoiser(pipelines["unet"])
    discriminator.discriminator_features(denoiser)(noise, T, discriminator.Conditioning(words, None))
    assert not asked and not any(block._forward_hooks for block in discriminator.discriminator_blocks(unet))


@pytest.mark.parametrize("recipe", ["sd35_sid", "flux_ladd"])
def test_blocks_that_mix_text_and_image_are_read_at_the_places_of_the_image(recipe, noise, tmp_path):
    hub_folders.save_teacher(recipe, tmp_path / "teacher")
    pipeline = load_pipeline(tmp_path / "teacher")
    conditioning, denoiser = text_encoding_of_prompts(pipeline, PROMPTS), pipeline_denoiser(pipeline, side=8)
    features = discriminator.discriminator_features(denoiser)
    moved = noise.clone()
    moved[:, :, -2:, -2:] += 1  # the last place: nothing changes as much as what stands there
    (before,), (after,) = features(noise, T, conditioning), features(moved, T, conditioning)
    assert before.shape[-2:] == (4, 4)  # squares of 2 x 2 latents are a place
    assert (after - before).abs().sum(1).flatten(1).argmax(1).tolist() == [15, 15]
