import pytest
import torch

from gad.data.emoji.clip import build_emoji_clip, emoji_clip_logits, emoji_clip_score, load_emoji_clip, save_emoji_clip
from gad.models.clip import clip_model_image_features, clip_model_text_features


def captions_of(truth) -> list[str]:
    return [scene.prompt.caption for scene in truth[0]]


def test_the_own_caption_scores_higher_than_another_one(clip, truth):
    captions = captions_of(truth)
    own, other = (emoji_clip_score(clip, truth[1], c) for c in (captions, captions[1:] + captions[:1]))
    assert own.abs().max() <= 1 + 1e-5
    assert own.mean() > other.mean() + 0.2
    assert (own > other).float().mean() > 0.95


@pytest.mark.parametrize(("word", "other"), [("red", "blue"), ("white", "black")])
def test_another_colour_or_background_scores_lower(clip, truth, word, other):
    named = [i for i, caption in enumerate(captions_of(truth)) if f" {word} " in caption and other not in caption]
    captions = [captions_of(truth)[i] for i in named]
    swapped = [caption.replace(word, other) for caption in captions]
    assert (
        emoji_clip_score(clip, truth[1][named], captions).mean()
        > emoji_clip_score(clip, truth[1][named], swapped).mean() + 0.1
    )


def test_most_images_find_their_caption(clip, truth):
    captions = captions_of(truth)
    with torch.no_grad():
        best = emoji_clip_logits(clip, truth[1], captions).argmax(1).tolist()
    assert sum(captions[i] == own for i, own in zip(best, captions, strict=True)) / len(captions) > 0.5


def test_features_have_unit_length(clip, truth):
    for features in (
        clip_model_image_features(clip, truth[1][:4]),
        clip_model_text_features(clip, captions_of(truth)[:4]),
    ):
        assert torch.allclose(features.norm(dim=1), torch.ones(4), atol=1e-5)


def test_saving_and_loading_keeps_the_score(tmp_path, truth):
    torch.manual_seed(0)
    clip = build_emoji_clip()
    clip.model.eval()
    captions = captions_of(truth)[:4]
    save_emoji_clip(clip, tmp_path / "clip")
    loaded = load_emoji_clip(tmp_path / "clip")
    assert torch.allclose(
        emoji_clip_score(clip, truth[1][:4], captions), emoji_clip_score(loaded, truth[1][:4], captions), atol=1e-4
    )
    assert loaded.tokenizer(captions)["input_ids"] == clip.tokenizer(captions)["input_ids"]
    assert [path.name for path in tmp_path.iterdir()] == ["clip"]


def test_every_word_of_a_caption_is_one_token_of_the_committed_tokenizer(clip, truth):
    for caption in captions_of(truth):
        assert len(clip.tokenizer(caption)["input_ids"]) == len(caption.split()) + 2  # start and end


def test_a_missing_clip_names_the_command_that_makes_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="dvc repro dataset") as error:
        load_emoji_clip(tmp_path)
    assert "\n" not in str(error.value)
