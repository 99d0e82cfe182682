import pytest
import torch
from diffusers import SanaTransformer2DModel

from gad.evaluation.control.layout.attention import cross_attention
from gad.models.mlp import build_point_network
from gad.models.pipelines import pipeline_denoiser, pipeline_network

TIMES = torch.tensor([1.0, 0.6])


def recorded(pipeline, noise, conditioning):
    denoiser = pipeline_denoiser(pipeline)
    with cross_attention(pipeline_network(pipeline)) as maps:
        answer = denoiser.output(noise, TIMES, conditioning)
    return answer, maps


def test_recording_changes_no_answer(pipeline, conditioning, noise):
    stock = pipeline_denoiser(pipeline).output(noise, TIMES, conditioning)
    answer, _ = recorded(pipeline, noise, conditioning)
    assert (answer - stock).abs().max() < 1e-5


def test_the_stock_answer_of_every_layer_follows_from_the_recorded_map(pipeline, conditioning, noise):
    """softmax(QK) V through the layer's own projection is what the layer said."""
    seen, handles, network = {}, [], pipeline_network(pipeline)
    for name, module in network.named_modules():
        if name.endswith("attn2"):
            hook = lambda module, args, kwargs, output, name=name: seen.update({name: (module, kwargs, output)})  # noqa: E731
            handles.append(module.register_forward_hook(hook, with_kwargs=True))
    _, maps = recorded(pipeline, noise, conditioning)
    for handle in handles:
        handle.remove()
    assert len(seen) == len(maps.layers) > 1
    for name, (module, given, output) in seen.items():
        (shares,) = maps.layers[f"{name}.processor"]
        value = module.to_v(given["encoder_hidden_states"]).unflatten(-1, (module.heads, -1)).transpose(1, 2)
        by_hand = module.to_out[0]((shares @ value).transpose(1, 2).flatten(2)) / module.rescale_output_factor
        assert torch.allclose(by_hand, output, atol=1e-5)


def test_maps_are_shares_of_each_place_over_the_tokens(pipeline, conditioning, noise):
    _, maps = recorded(pipeline, noise, conditioning)
    tokens = conditioning.prompt_embeds.shape[1]
    for (shares,) in maps.layers.values():
        assert shares.shape[0] == 2 and shares.shape[3] == tokens
        assert torch.allclose(shares.sum(-1), torch.ones(()), atol=1e-5) and shares.min() >= 0
    mean = maps.mean(2)
    assert mean.shape[0] == 2 and mean.shape[1] == mean.shape[2] and mean.shape[3] == tokens


@pytest.mark.parametrize("backbone", ["dit", "flow"], indirect=False)
def test_padding_gets_no_attention(pipelines, backbone, noise):
    from gad.models.text_encoding import text_encoding_of_prompts

    conditioning = text_encoding_of_prompts(pipelines[backbone], ["a red car on a white background", "a dog"])
    _, maps = recorded(pipelines[backbone], noise, conditioning)
    hidden = conditioning.prompt_attention_mask == 0
    assert hidden.any()
    for (shares,) in maps.layers.values():
        assert shares.movedim(-1, 1)[hidden].abs().max() == 0


def test_maps_of_the_last_layers_have_a_gradient_in_the_noise(pipeline, conditioning, noise):
    noise = noise.clone().requires_grad_(True)
    _, maps = recorded(pipeline, noise, conditioning)
    (gradient,) = torch.autograd.grad(maps.mean(2)[..., 2].square().sum(), noise)
    assert gradient.isfinite().all() and gradient.abs().max() > 0


def test_the_own_processors_come_back_also_after_an_error(pipeline):
    network = pipeline_network(pipeline)
    before = dict(network.attn_processors)
    with pytest.raises(RuntimeError, match="stop"):
        with cross_attention(network):
            assert network.attn_processors != before
            raise RuntimeError("stop")
    assert network.attn_processors == before


def test_under_guidance_only_the_prompts_are_averaged(pipeline, conditioning, noise):
    from gad.diffusion.guidance import Guided
    from gad.models.text_encoding import text_encoding_of_prompts

    denoiser = pipeline_denoiser(pipeline)
    guided = Guided(denoiser, text_encoding_of_prompts(pipeline, [""]), 3.0)
    with torch.no_grad(), cross_attention(pipeline_network(pipeline)) as maps:
        denoiser(noise, TIMES, conditioning)
        alone = maps.mean(2)
        maps.clear()
        guided(noise, TIMES, conditioning)
        assert torch.allclose(maps.mean(2), alone, atol=1e-5)


def test_keys_with_a_norm_across_heads_are_recorded_as_they_are_used(noise):
    torch.manual_seed(0)
    network = SanaTransformer2DModel(
        sample_size=8, in_channels=4, out_channels=4, patch_size=1, num_attention_heads=2, attention_head_dim=8,
        num_cross_attention_heads=2, cross_attention_head_dim=8, cross_attention_dim=16, num_layers=1,
        caption_channels=12, qk_norm="rms_norm_across_heads",
    )  # fmt: skip
    attention, text = network.transformer_blocks[0].attn2, torch.randn(2, 5, 16)
    places = torch.randn(2, 9, 16)
    from gad.evaluation.control.layout.attention import attention_probabilities

    shares = attention_probabilities(attention, places, text, None)
    value = attention.to_v(text).unflatten(-1, (2, -1)).transpose(1, 2)
    by_hand = attention.to_out[0]((shares @ value).transpose(1, 2).flatten(2))
    assert torch.allclose(by_hand, attention(places, encoder_hidden_states=text), atol=1e-5)


@pytest.mark.parametrize("network", [build_point_network(8, 1, seed=0), torch.nn.Linear(2, 2)], ids=["mlp", "linear"])
def test_a_family_without_cross_attention_is_refused_in_one_line(network):
    with pytest.raises(ValueError, match=f"{type(network).__name__} has no cross-attention maps") as error:
        with cross_attention(network):
            pass
    assert "\n" not in str(error.value)


def test_an_empty_recording_is_refused(pipeline):
    with (
        cross_attention(pipeline_network(pipeline)) as maps,
        pytest.raises(ValueError, match="no cross-attention was recorded"),
    ):
        maps.mean(2)
