"""What an image shows and what a prompt says, as points on one sphere: the world's small CLIP, or a pretrained one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoProcessor, CLIPModel

from gad.data.emoji.clip import Clip, image_features, load_clip, text_features
from gad.diffusion.shapes import PerSample
from gad.runtime.fingerprint import fingerprint
from gad.runtime.paths import EMOJI, ROOT


@dataclass(frozen=True)
class Encoder:
    """Unit features ``[B, D]`` of images ``[B, 3, H, W]`` in [-1, 1] and of prompts, and a name that tells encoders
    apart. Gradients pass through ``images``."""

    name: str
    images: Callable[[Tensor], Tensor]
    texts: Callable[[Sequence[str]], Tensor]


def score(encoder: Encoder, images: Tensor, prompts: Sequence[str]) -> PerSample:
    """Cosine of each image with its own prompt, in [-1, 1]; higher is better."""
    return (encoder.images(images) * encoder.texts(prompts)).sum(1)


def features_in_parts(encoder: Encoder, images: Tensor, *, batch_size: int = 64) -> Tensor:
    """Image features without gradient, a batch at a time."""
    with torch.no_grad():
        return torch.cat([encoder.images(part) for part in images.split(batch_size)])


def world_encoder(clip: Clip, name: str) -> Encoder:
    """The emoji world's judge."""
    return Encoder(name, lambda images: image_features(clip, images), lambda prompts: text_features(clip, prompts))


def pretrained_encoder(source: str, *, device: torch.device | str = "cpu") -> Encoder:
    """A transformers CLIP from a folder (absolute or from the project's root) or the hub, frozen, in float32.

    The network works on ``device``; features go back to where the images are, and those of prompts to the CPU.
    Images are resized to its side and normalised as its processor does. Raises ValueError where there is none.
    """
    path = ROOT / source
    place = str(path) if path.is_dir() else source
    try:
        model = CLIPModel.from_pretrained(place, dtype=torch.float32)  # .bin by weights_only
        processor = AutoProcessor.from_pretrained(place, use_fast=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"there is no CLIP model at {source}: {str(error).splitlines()[0]}") from error
    model = model.eval().requires_grad_(False).to(device)
    side = model.config.vision_config.image_size
    tokenizer, shown = processor.tokenizer, processor.image_processor
    mean, std = (torch.tensor(values)[:, None, None] for values in (shown.image_mean, shown.image_std))

    def images(batch: Tensor) -> Tensor:
        resized = F.interpolate(batch, size=(side, side), mode="bicubic", antialias=True).clamp(-1, 1)
        pixels = ((resized + 1) / 2 - mean) / std
        return _unit(model.get_image_features(pixel_values=pixels.to(device))).to(batch.device)

    def texts(prompts: Sequence[str]) -> Tensor:
        tokens = tokenizer(list(prompts), padding=True, truncation=True, return_tensors="pt")
        return _unit(model.get_text_features(**tokens.to(device))).cpu()

    version = fingerprint(path) if path.is_dir() else getattr(model.config, "_commit_hash", None) or "hub"
    return Encoder(f"{source}:{version}", images, texts)


def _unit(output) -> Tensor:
    return F.normalize(output if isinstance(output, Tensor) else output.pooler_output, dim=-1)


def load_encoder(source: str | None, *, device: torch.device | str = "cpu") -> Encoder:
    """The pretrained CLIP named by ``source``, or the world's own judge, which is small and stays on the CPU."""
    if source is not None:
        return pretrained_encoder(source, device=device)
    folder = EMOJI / "judges" / "clip"
    return world_encoder(load_clip(folder), f"emoji judge:{fingerprint(folder)}")
