"""A small CLIP: how well an image fits a caption, learnt from rendered scenes."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from gad.data.emoji.scenes import SIZE
from gad.data.emoji.text_encoders import MAX_TOKENS, clip_text
from gad.diffusion.shapes import Latent, PerSample
from gad.models.clip import Clip, clip_model_image_features, clip_model_text_features
from gad.models.saved_folders import make_saved_folder_portable
from gad.models.weights import load_whole_weights
from gad.runtime.atomic import atomic_write_path

WIDTH = 128
LAYERS = 4
HEADS = 4
PATCH = 8  # pixels on a side
PROJECTION = 64  # features of an image or a caption


def build_emoji_clip() -> Clip:
    """An untrained model for 64x64 images, with the word tokenizer of the captions."""
    from transformers import CLIPConfig, CLIPModel  # here, since it takes seconds

    tokenizer, text = clip_text()
    vision = {
        "hidden_size": WIDTH,
        "intermediate_size": 3 * WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "image_size": SIZE,
        "patch_size": PATCH,
    }
    config = CLIPConfig(text_config=text.config.to_dict(), vision_config=vision, projection_dim=PROJECTION)
    return Clip(CLIPModel(config), tokenizer, MAX_TOKENS)


def emoji_clip_logits(clip: Clip, images: Latent, captions: Sequence[str]) -> Float[Tensor, "B N"]:
    """Cosine of each image with each caption, times the learnt inverse temperature (at most 100)."""
    scale = clip.model.logit_scale.clamp(max=4.6052).exp()
    return scale * clip_model_image_features(clip, images) @ clip_model_text_features(clip, captions).T


@torch.no_grad()
def emoji_clip_score(clip: Clip, images: Latent, captions: Sequence[str]) -> PerSample:
    """Cosine of each image with its own caption, in [-1, 1] (higher is better). Not OpenAI's CLIP score."""
    return (clip_model_image_features(clip, images) * clip_model_text_features(clip, captions)).sum(1)


def save_emoji_clip(clip: Clip, folder: Path) -> None:
    """Write half-precision weights and the tokenizer as a transformers folder, complete or not at all."""
    with atomic_write_path(folder) as partial:
        clip.model.half().save_pretrained(partial)
        clip.model.float()
        clip.tokenizer.save_pretrained(partial)
        make_saved_folder_portable(partial)


def load_emoji_clip(folder: Path) -> Clip:
    """The saved model in float32, frozen, in evaluation mode. Raises ValueError, in one line, for weights that are not
    whole."""
    from transformers import CLIPModel, CLIPTokenizer  # here, since it takes seconds

    if not (folder / "model.safetensors").is_file():
        raise FileNotFoundError(f"no CLIP model in {folder}; run: dvc repro dataset")
    try:
        model = load_whole_weights(CLIPModel, folder)
    except ValueError as error:
        raise ValueError(f"cannot load the CLIP model in {folder}: {error}; or run: dvc repro dataset") from error
    return Clip(model.eval().requires_grad_(False), CLIPTokenizer.from_pretrained(folder), MAX_TOKENS)
