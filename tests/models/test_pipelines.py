import shutil

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from tiny import PROMPTS

from gad.data.emoji.backbones import build_backbone
from gad.data.emoji.text_encoders import MAX_TOKENS
from gad.diffusion.conditioning import Conditioning, concatenate_conditioning
from gad.diffusion.guidance import Guided
from gad.models.pipeline_loading import load_pipeline
from gad.models.pipelines import pipeline_denoiser, pipeline_network
from gad.models.saved_folders import save_diffusers_pipeline
from gad.models.text_encoding import text_encoding_of_prompts

TIMES = torch.tensor([0.3, 0.9])


@pytest.fixture
def empty(pipeline):
    return text_encoding_of_prompts(pipeline, [""])


@torch.no_grad()
def test_x0_equals_the_conversion_by_hand(pipeline, backbone, vae, conditioning, noise):
    pipeline = build_backbone(backbone, vae, seed=0)
    network = pipeline_network(pipeline).double().eval()
    noise, t, embeds = noise.double(), TIMES.double(), conditioning.prompt_embeds.double()
    if backbone == "flow":
        told, alpha, sigma = t * 1000, 1 - t, t
    else:
        told = (t * 1000).round().long() - 1
        table = pipeline.scheduler.alphas_cumprod[told].double()
        alpha, sigma = table.sqrt(), (1 - table).sqrt()
    extra = {} if backbone == "unet" else {"encoder_attention_mask": conditioning.prompt_attention_mask}
    if backbone == "dit":
        extra["added_cond_kwargs"] = {"resolution": None, "aspect_ratio": None}
    output = network(noise, timestep=told, encoder_hidden_states=embeds, **extra).sample
    alpha, sigma = alpha.view(-1, 1, 1, 1), sigma.view(-1, 1, 1, 1)
    by_hand = {
        "unet": alpha * noise - sigma * output,
        "dit": (noise - sigma * output) / alpha,
        "flow": noise - sigma * output,
    }
    x0 = pipeline_denoiser(pipeline)(noise, t, conditioning)
    assert torch.allclose(x0, by_hand[backbone], atol=1e-10)


@torch.no_grad()
def test_guidance_scale_one_is_conditional(pipeline, conditioning, empty, noise):
    denoiser = pipeline_denoiser(pipeline)
    guided = Guided(denoiser, empty, 1.0)(noise, TIMES, conditioning)
    assert torch.equal(guided, denoiser(noise, TIMES, conditioning))


@torch.no_grad()
def test_guidance_equals_two_separate_calls(pipeline, conditioning, empty, noise):
    denoiser = pipeline_denoiser(pipeline)
    cond = denoiser(noise, TIMES, conditioning)
    uncond = denoiser(noise, TIMES, empty[[0, 0]])
    guided = Guided(denoiser, empty, 4.5)(noise, TIMES, conditioning)
    assert torch.allclose(guided, uncond + 4.5 * (cond - uncond), atol=1e-4)


@torch.no_grad()
def test_samples_in_a_batch_do_not_mix(pipeline, conditioning, noise):
    denoiser = pipeline_denoiser(pipeline)
    both = denoiser(noise, TIMES, conditioning)
    alone = denoiser(noise[1:], TIMES[1:], conditioning[[1]])
    assert torch.allclose(both[1:], alone, atol=1e-5)


@pytest.mark.parametrize("backbone", ["dit", "flow"])
@torch.no_grad()
def test_padding_does_not_change_what_masked_families_say(pipelines, backbone, noise):
    denoiser = pipeline_denoiser(pipelines[backbone])
    conditioning = text_encoding_of_prompts(pipelines[backbone], PROMPTS)
    mask = conditioning.prompt_attention_mask
    changed = torch.where(mask[..., None] == 1, conditioning.prompt_embeds, 7.0)
    assert not torch.equal(changed, conditioning.prompt_embeds)
    x0 = denoiser(noise, TIMES, conditioning)
    assert torch.allclose(denoiser(noise, TIMES, Conditioning(changed, mask)), x0, atol=1e-5)


def test_a_prompt_longer_than_the_tokenizer_is_cut_with_a_warning(pipeline):
    with pytest.warns(UserWarning, match=rf"prompt cut from \d+ to {MAX_TOKENS} tokens"):
        conditioning = text_encoding_of_prompts(pipeline, ["red car " * MAX_TOKENS])
    assert conditioning.prompt_embeds.shape[1] == MAX_TOKENS


@torch.no_grad()
def test_text_conditioning_equals_encode_prompt_of_the_stock_pipeline(pipeline, backbone, conditioning):
    if backbone == "unet":
        stock = pipeline.encode_prompt(PROMPTS, "cpu", 1, False)[0]
    else:
        options = {"do_classifier_free_guidance": False, "max_sequence_length": MAX_TOKENS}
        stock, mask, *_ = pipeline.encode_prompt(PROMPTS, **options)
        assert torch.equal(conditioning.prompt_attention_mask, mask)
    assert torch.equal(conditioning.prompt_embeds, stock)


def test_encoding_does_not_depend_on_the_batch_size(pipeline, conditioning):
    singly = text_encoding_of_prompts(pipeline, PROMPTS, batch_size=1)
    assert torch.allclose(singly.prompt_embeds, conditioning.prompt_embeds, atol=1e-5)


def test_concatenated_conditionings_come_apart_again(conditioning):
    both = concatenate_conditioning(conditioning, conditioning)
    assert len(both) == 4
    assert torch.equal(both[2:].prompt_embeds, conditioning.prompt_embeds)


def refusal(folder) -> str:
    with pytest.raises(ValueError) as error:
        load_pipeline(folder)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def test_a_missing_folder_is_refused_in_one_line(tmp_path):
    assert "nowhere" in refusal(tmp_path / "nowhere")


def test_a_truncated_network_is_refused_in_one_line(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "teacher")
    weights = next(folder.glob("[tu]*n*/diffusion_pytorch_model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100_000])
    assert "cannot load a diffusers pipeline" in refusal(folder)


def test_another_pipeline_class_is_refused_in_one_line(tmp_path):
    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
    )
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(tmp_path)
    assert "DDPMPipeline is not a pipeline class" in refusal(tmp_path)


def test_a_loaded_pipeline_is_frozen_and_says_the_same(saved, pipeline, conditioning, noise):
    loaded = load_pipeline(saved)
    assert not any(p.requires_grad for p in pipeline_network(loaded).parameters())
    assert not pipeline_network(loaded).training
    x0 = pipeline_denoiser(loaded)(noise, TIMES, conditioning)
    with torch.no_grad():
        assert torch.equal(x0, pipeline_denoiser(pipeline)(noise, TIMES, conditioning))


def test_a_saved_pipeline_does_not_say_where_it_came_from(saved, tmp_path):
    for name in ("first", "second"):
        save_diffusers_pipeline(load_pipeline(saved), tmp_path / name)
    texts = [sorted((tmp_path / name).rglob("*.json")) for name in ("first", "second")]
    assert not any("_name_or_path" in path.read_text() for path in texts[0])
    assert [p.read_bytes() for p in texts[0]] == [p.read_bytes() for p in texts[1]]
