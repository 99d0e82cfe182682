"""Attention of places to a prompt where image and text attend to each other: SD 3 and FLUX."""

import hub_folders
import pytest
import torch
from torch.nn import functional as F

from gad.evaluation.control.layout.attention import cross_attention
from gad.evaluation.control.layout.tokens import word_tokens
from gad.models.model import load_model

TIMES = torch.tensor([1.0, 0.6])
PROMPTS = ["a red cat on a blue car", "a dog and a sun"]
NOUNS = [["cat", "car"], ["dog"]]


@pytest.fixture(scope="module", params=["sd35_sid", "flux_ladd"])
def model(request, tmp_path_factory):
    place = tmp_path_factory.mktemp("joint") / "teacher"
    hub_folders.save_teacher(request.param, place)
    return load_model(place, side=hub_folders.SIDE)


@pytest.fixture
def noise(model):
    return torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(3))


def recorded(model, noise):
    conditioning = model.condition(PROMPTS)
    with cross_attention(model.denoiser.network) as maps:
        output = model.denoiser.output(noise, TIMES, conditioning)
    return output, maps, conditioning.prompt_embeds.shape[1]


def test_recording_changes_no_output(model, noise):
    stock = model.denoiser.output(noise, TIMES, model.condition(PROMPTS))
    assert torch.equal(recorded(model, noise)[0], stock)


def test_maps_are_the_joint_softmax_over_image_and_text_told_over_the_text_alone(model, noise, monkeypatch):
    """The queries and keys that the network hands to its attention kernel, image and text in one."""
    kernel, seen = F.scaled_dot_product_attention, []

    def spy(query, key, value, *inputs, **options):
        seen.append((query, key))
        return kernel(query, key, value, *inputs, **options)

    monkeypatch.setattr(F, "scaled_dot_product_attention", spy)
    _, maps, tokens = recorded(model, noise)
    places = (noise.shape[-1] // 2) ** 2
    joint = [pair for pair in seen if pair[0].shape[2] == places + tokens][: len(maps.layers)]
    assert len(joint) == len(maps.layers) > 0
    text_first = "Flux" in type(model.denoiser.network).__name__
    image, text = (slice(tokens, None), slice(tokens)) if text_first else (slice(places), slice(places, None))
    for (query, key), (shares,) in zip(joint, maps.layers.values(), strict=True):
        whole = (query @ key.transpose(2, 3) / query.shape[-1] ** 0.5).softmax(-1)[:, :, image, text]
        assert shares.shape == whole.shape
        assert torch.allclose(shares, whole / whole.sum(-1, keepdim=True), atol=1e-5)


def test_maps_have_a_gradient_in_the_noise(model, noise):
    noise.requires_grad_(True)
    _, maps, _ = recorded(model, noise)
    (gradient,) = torch.autograd.grad(maps.mean(2)[..., 2].square().sum(), noise)
    assert gradient.isfinite().all() and gradient.abs().max() > 0


def test_words_have_their_tokens_of_every_reader_in_the_order_of_the_conditioning(model):
    words, objects = word_tokens(model, PROMPTS, NOUNS)
    assert words.shape[1] == objects.shape[2] == model.condition(PROMPTS).prompt_embeds.shape[1]
    readers = 2 if "3" in type(model.pipeline).__name__ else 1
    assert objects.sum(-1).tolist() == [[readers, readers], [readers, 0]]
    first = model.pipeline.tokenizer if readers == 2 else model.pipeline.tokenizer_2
    ids = first(PROMPTS[0]).input_ids
    assert "cat" in first.convert_ids_to_tokens(ids[objects[0, 0].nonzero()[0].item()])


def test_a_noun_behind_the_last_token_is_refused_in_one_line(model):
    with pytest.raises(ValueError, match="the object 'cat' stands behind the first 20 tokens"):
        word_tokens(model, ["a red sun " * 20 + "cat"], [["cat"]])
