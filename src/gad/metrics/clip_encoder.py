"""Features of images and prompts by a CLIP: any CLIPModel of transformers, or the emoji dataset's own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gad.data.emoji.clip import load_emoji_clip
from gad.metrics.pretrained import (
    preprocess_for_pretrained,
    pretrained_model_error,
    pretrained_normalisation,
)
from gad.models.clip import Clip, clip_model_image_features, clip_model_text_features
from gad.models.weights import load_whole_weights
from gad.runtime.fingerprint import fingerprint
from gad.runtime.paths import EMOJI, folder_or_hub_name, project_path

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from transformers import CLIPModel


@dataclass(frozen=True)
class Encoder:
    """Unit features ``[B, D]`` of images ``[B, 3, H, W]`` in [-1, 1] and of prompts, and a name that tells encoders
    apart. Gradients pass through ``images``."""

    name: str
    images: Callable[[Tensor], Tensor]
    texts: Callable[[Sequence[str]], Tensor]
    inverse_temperature: float = 1.0  # that the model itself scales cosines by


def clip_features_in_batches(encoder: Encoder, images: Tensor, *, batch_size: int = 64) -> Tensor:
    """Image features without gradient, a batch at a time."""
    with torch.no_grad():
        return torch.cat([encoder.images(part) for part in images.split(batch_size)])


def load_clip_encoder(
    source: str | None,
    *,
    tokenizer: str | None = None,
    revision: str | None = None,
    device: torch.device | str = "cpu",
) -> Encoder:
    """The CLIPModel in a folder (absolute or from the project's root) or of a hub name, frozen, in float32.

    Without a ``source`` the emoji dataset's own, which is small and stays on the CPU. ``tokenizer`` names a folder or
    hub model with tokenizer and image mean where the model's own has none. The network works on ``device``; features
    go back to where the images are, and those of prompts to the CPU. Raises ValueError, in one line that says how to
    get it, when the model, or a tokenizer for it, is missing.
    """
    if source is None:
        return _emoji_encoder()
    words, words_revision = (source, revision) if tokenizer is None else (tokenizer, None)
    clip = _load_pretrained(source, revision, words, words_revision, device)
    mean, std = pretrained_normalisation(words, words_revision)
    side = clip.model.config.vision_config.image_size

    def images(batch: Tensor) -> Tensor:
        return clip_model_image_features(clip, preprocess_for_pretrained(batch, side, mean, std).to(device)).to(
            batch.device
        )

    def texts(prompts: Sequence[str]) -> Tensor:
        return clip_model_text_features(clip, prompts).cpu()

    path = project_path(source)
    version = fingerprint(path) if path.is_dir() else getattr(clip.model.config, "_commit_hash", None) or "hub"
    return Encoder(f"{source}:{version}", images, texts, clip.model.logit_scale.exp().item())


def _emoji_encoder() -> Encoder:
    """It sees images as they are: 64 pixels a side, in [-1, 1]."""
    folder = EMOJI / "evaluators" / "clip"
    clip = load_emoji_clip(folder)
    return Encoder(
        f"emoji evaluator:{fingerprint(folder)}",
        partial(clip_model_image_features, clip),
        partial(clip_model_text_features, clip),
    )


def clip_encoder_network(
    source: str, revision: str | None = None, *, shapes_only: bool = False, **options: Any
) -> "CLIPModel":
    """The CLIPModel in a folder or of a hub name, float32, frozen; with ``shapes_only`` on the device "meta".

    Raises ValueError, in one line that says how to get it, when it is missing or not whole.
    """
    from transformers import CLIPModel  # here, since it takes seconds

    try:
        model = load_whole_weights(
            CLIPModel, folder_or_hub_name(source), shapes_only=shapes_only, revision=revision, **options
        )
    except Exception as error:  # transformers raises many kinds for a folder that is missing or broken
        raise pretrained_model_error(source, error) from error
    return model.eval().requires_grad_(False)


def _load_pretrained(
    source: str, revision: str | None, words: str, words_revision: str | None, device: torch.device | str
) -> Clip:
    from transformers import AutoTokenizer  # here, since it takes seconds

    model = clip_encoder_network(source, revision).to(device)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder_or_hub_name(words), revision=words_revision)
    except Exception as error:  # transformers raises many kinds for a folder that is missing or broken
        raise pretrained_model_error(words, error) from error
    return Clip(model, tokenizer, model.config.text_config.max_position_embeddings)
