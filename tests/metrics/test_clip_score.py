"""Every score of image and prompt has one signature; real tiny CLIPModel folders stand for the full-scale ones."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import tiny_clip
from transformers import CLIPModel

from gad.config import ScoreConfig
from gad.data.emoji.clip import emoji_clip_score
from gad.data.emoji.text_encoders import clip_text
from gad.metrics.clip_score import OWN, clip_scores_in_batches, load_all_clip_scores, load_clip_score
from gad.metrics.image_features import load_features
from gad.metrics.pretrained import CLIP_MEAN, CLIP_STD, preprocess_for_pretrained

ZERO, ONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
PROMPTS = ["a red car on a white background", "a blue star on a black background", "two dogs on a cyan background"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A CLIPModel folder as the hub has them: untrained, its temperature moved from the start."""
    folder = tmp_path_factory.mktemp("clip")
    tokenizer, model = tiny_clip()
    model.logit_scale.data.fill_(4.0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def images():
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_the_three_scales_are_the_cosine_times_one_a_hundred_and_the_models_own(folder, images):
    cosine, percent, logit = (
        load_clip_score(ScoreConfig(model=str(folder), scale=scale))(images, PROMPTS)
        for scale in ("cosine", "percent", "logit")
    )
    assert cosine.shape == (3,) and cosine.abs().max() <= 1
    assert torch.allclose(percent, 100 * cosine) and torch.allclose(logit, torch.tensor(4.0).exp() * cosine)


def test_the_score_is_what_transformers_says_of_each_image_and_its_own_prompt(folder, images):
    model, tokenizer = CLIPModel.from_pretrained(folder).eval(), clip_text()[0]
    tokens = tokenizer(PROMPTS, padding="max_length", max_length=20, truncation=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(
            pixel_values=preprocess_for_pretrained(images, 32, CLIP_MEAN, CLIP_STD), **tokens
        ).logits_per_image
    found = load_clip_score(ScoreConfig(model=str(folder), scale="logit"))(images, PROMPTS)
    assert torch.allclose(found, logits.diagonal(), atol=1e-4)


def test_pictures_are_prepared_as_pillow_would(images):
    smooth = torch.nn.functional.interpolate(images[:1, :, :8, :8], size=(64, 64), mode="bicubic").clamp(-1, 1)
    pixels = ((smooth[0].permute(1, 2, 0) + 1) * 127.5).round().byte().numpy()
    shrunk = Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC)
    expected = torch.from_numpy(np.asarray(shrunk).copy()).permute(2, 0, 1).float() / 255
    assert (preprocess_for_pretrained(smooth, 32, ZERO, ONE)[0] - expected).abs().max() < 0.01


def test_a_wide_picture_gives_its_middle_square():
    wide = torch.zeros(1, 3, 32, 96)
    wide[..., 32:64] = 1
    assert (preprocess_for_pretrained(wide, 32, ZERO, ONE)[..., 4:-4] > 0.99).all()


def test_scores_do_not_depend_on_the_batch(folder, images):
    score = load_clip_score(ScoreConfig(model=str(folder)))
    assert torch.allclose(
        clip_scores_in_batches(score, images, PROMPTS, batch_size=1), score(images, PROMPTS), atol=1e-4
    )


def test_without_a_score_in_the_recipe_the_worlds_own_judge_is_used_and_named_so(clip, truth):
    scores = load_all_clip_scores({})
    captions = [scene.prompt.caption for scene in truth[0][:4]]
    assert list(scores) == [OWN]
    assert torch.equal(scores[OWN](truth[1][:4], captions), emoji_clip_score(clip, truth[1][:4], captions))


def test_a_missing_metric_model_says_how_to_get_it_in_one_line(tmp_path):
    for load in (lambda: load_all_clip_scores({"PickScore": ScoreConfig(model=str(tmp_path / "x"))}),
                 lambda: load_features(str(tmp_path / "x"))):  # fmt: skip
        with pytest.raises(ValueError, match="no metric model .*HF_HUB_OFFLINE=0 lets a run fetch it") as error:
            load()
        assert "\n" not in str(error.value)


def test_nan_images_are_named(folder, images):
    images[1, 0, 3, 3] = float("nan")
    with pytest.raises(ValueError, match=r"images \[1\] are not finite"):
        clip_scores_in_batches(load_clip_score(ScoreConfig(model=str(folder))), images, PROMPTS)


def test_features_of_a_transformers_vision_model_are_its_pooled_output(images, tmp_path):
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32,
                       patch_size=8)  # fmt: skip
    model = ViTModel(config).eval()
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        expected = model(pixel_values=preprocess_for_pretrained(images, 32, CLIP_MEAN, CLIP_STD)).pooler_output
    assert torch.allclose(load_features(str(tmp_path), batch_size=2)(images), expected, atol=1e-5)
