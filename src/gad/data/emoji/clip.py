"""A small CLIP: how well an image fits a caption, learnt from rendered scenes."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging

from gad.data.emoji.scenes import SIZE
from gad.data.emoji.text_encoders import MAX_TOKENS, clip_text
from gad.diffusion.shapes import Latent, PerSample

if TYPE_CHECKING:  # at run time they are imported where they are needed: it takes a while
    from transformers.utils import ModelOutput

WIDTH = 128
LAYERS = 4
HEADS = 4
PATCH = 8  # pixels on a side
PROJECTION = 64  # features of an image or a caption


@dataclass(frozen=True)
class Clip:
    """A CLIP model with its own tokenizer."""

    model: CLIPModel
    tokenizer: PreTrainedTokenizerBase


def build_clip() -> Clip:
    """An untrained model for 64x64 images, with the word tokenizer of the captions."""
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
    return Clip(CLIPModel(config), tokenizer)


def _features(output: "Tensor | ModelOutput") -> Tensor:
    """Projected features of unit length, from a transformers output or a bare tensor."""
    return F.normalize(output if isinstance(output, Tensor) else output.pooler_output, dim=-1)


def image_features(clip: Clip, images: Latent) -> Float[Tensor, "B D"]:
    """Features of unit length of images ``[B, 3, 64, 64]`` in [-1, 1]."""
    return _features(clip.model.get_image_features(pixel_values=images))


def text_features(clip: Clip, captions: Sequence[str]) -> Float[Tensor, "B D"]:
    """Features of unit length of captions."""
    tokens = clip.tokenizer(
        list(captions), padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
    )
    return _features(clip.model.get_text_features(**tokens.to(clip.model.device)))


def logits(clip: Clip, images: Latent, captions: Sequence[str]) -> Float[Tensor, "B N"]:
    """Cosine of each image with each caption, times the learnt inverse temperature (at most 100)."""
    scale = clip.model.logit_scale.clamp(max=4.6052).exp()
    return scale * image_features(clip, images) @ text_features(clip, captions).T


@torch.no_grad()
def clip_score(clip: Clip, images: Latent, captions: Sequence[str]) -> PerSample:
    """Cosine of each image with its own caption, in [-1, 1] (higher is better). Not OpenAI's CLIP score."""
    return (image_features(clip, images) * text_features(clip, captions)).sum(1)


def save_clip(clip: Clip, folder: Path) -> None:
    """Write half-precision weights and the tokenizer as a transformers folder, complete or not at all."""
    partial = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(partial, ignore_errors=True)
    clip.model.half().save_pretrained(partial)
    clip.model.float()
    clip.tokenizer.save_pretrained(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def load_clip(folder: Path) -> Clip:
    """The saved model in float32, frozen, in evaluation mode."""
    if not (folder / "model.safetensors").is_file():
        raise FileNotFoundError(f"no CLIP model in {folder}; run: dvc repro dataset")
    logging.disable_progress_bar()
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32)
    return Clip(model.eval().requires_grad_(False), CLIPTokenizer.from_pretrained(folder))
