"""Scores of an image with its prompt behind one signature: ``score(images, prompts) -> [B]``, higher is better.

The emoji dataset's own CLIP, or any CLIPModel of transformers: OpenAI's CLIP (cosine, x 100 as tables print it),
PickScore (the same network retrained on choices; exp(logit_scale) times the cosine), HPSv2 in a transformers copy
(cosine). A score is named in the recipe for what it is.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoProcessor, AutoTokenizer, CLIPModel
from transformers.utils import cached_file, logging

from gad.config import ScoreConfig
from gad.data.emoji.clip import Clip, clip_score, image_features, load_clip, text_features
from gad.diffusion.shapes import Latent, PerSample
from gad.runtime.fingerprint import fingerprint
from gad.runtime.paths import EMOJI, ROOT

if TYPE_CHECKING:  # at run time they are imported where they are needed: it takes a while
    from transformers.utils import ModelOutput

Score = Callable[[Tensor, Sequence[str]], Tensor]
"""Images ``[B, 3, H, W]`` in [-1, 1] and a prompt each, to one number per image."""

OWN = "CLIP score (own evaluator)"
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def preprocess(images: Latent, side: int, mean: Sequence[float], std: Sequence[float]) -> Float[Tensor, "B 3 s s"]:
    """Images in [-1, 1] as CLIP wants them: bicubic to the shorter side, the middle square, normalised."""
    pixels = (images.float().clamp(-1, 1) + 1) / 2
    height, width = pixels.shape[-2:]
    scale = side / min(height, width)
    size = (max(side, round(height * scale)), max(side, round(width * scale)))
    pixels = F.interpolate(pixels, size=size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    pixels = pixels[..., top : top + side, left : left + side]
    return (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def normalisation(source: str, revision: str | None) -> tuple[list[float], list[float]]:
    """Mean and deviation of the pixels that a model was trained on; CLIP's own where its folder does not say."""
    path = cached_file(
        source, "preprocessor_config.json", revision=revision,
        _raise_exceptions_for_missing_entries=False, _raise_exceptions_for_connection_errors=False,
        _raise_exceptions_for_gated_repo=False,
    )  # fmt: skip
    values = json.loads(Path(path).read_text()) if path else {}
    return list(values.get("image_mean", CLIP_MEAN)), list(values.get("image_std", CLIP_STD))


def how_to_get(source: str) -> str:
    """What to do about a metric model that is not there."""
    return f"no metric model {source!r} here: HF_HUB_OFFLINE=0 lets a run fetch it, or download it and name its folder"


def load_clip_score(config: ScoreConfig, *, device: torch.device | str = "cpu") -> Score:
    """The score of a CLIPModel from a hub name or a local folder.

    Raises ValueError, in one line that says how to get it, when the model, or a tokenizer for it, is missing.
    """
    source, words = config.model, config.tokenizer or config.model
    logging.disable_progress_bar()
    try:
        model = CLIPModel.from_pretrained(source, revision=config.revision, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(words, revision=None if config.tokenizer else config.revision)
    except Exception as error:  # transformers raises many kinds for a folder that is missing or broken
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise ValueError(f"{how_to_get(source)} ({reason})") from error
    model.eval().requires_grad_(False).to(device)
    mean, std = normalisation(words, None if config.tokenizer else config.revision)
    side, length = model.config.vision_config.image_size, model.config.text_config.max_position_embeddings
    factor = {"cosine": 1.0, "percent": 100.0, "logit": model.logit_scale.exp().item()}[config.scale]

    @torch.no_grad()
    def score(images: Latent, prompts: Sequence[str]) -> PerSample:
        tokens = tokenizer(
            list(prompts), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        ).to(device)
        text = model.get_text_features(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
        image = model.get_image_features(pixel_values=preprocess(images, side, mean, std).to(device))
        text, image = (part if isinstance(part, Tensor) else part.pooler_output for part in (text, image))
        return factor * F.cosine_similarity(image, text, dim=1).cpu()

    return score


def load_scores(configs: dict[str, ScoreConfig], *, device: torch.device | str = "cpu") -> dict[str, Score]:
    """Every score of a recipe by its name; without any the emoji dataset's own evaluator, named so, on the CPU."""
    if not configs:
        return {OWN: partial(clip_score, load_clip(EMOJI / "evaluators" / "clip"))}
    return {name: load_clip_score(config, device=device) for name, config in configs.items()}


def score_all(score: Score, images: Latent, prompts: Sequence[str], *, batch_size: int = 64) -> PerSample:
    """The score of every image, a few at a time. Raises ValueError for images with NaN."""
    if not images.isfinite().all():
        bad = (~images.isfinite()).flatten(1).any(1).nonzero().flatten().tolist()
        raise ValueError(f"images {bad[:5]} are not finite and cannot be scored")
    parts = torch.arange(len(images)).split(batch_size)
    return torch.cat([score(images[part], [prompts[i] for i in part.tolist()]) for part in parts])


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


def emoji_encoder(clip: Clip, name: str) -> Encoder:
    """The emoji dataset's evaluator."""
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


def _unit(output: "Tensor | ModelOutput") -> Tensor:
    return F.normalize(output if isinstance(output, Tensor) else output.pooler_output, dim=-1)


def load_encoder(source: str | None, *, device: torch.device | str = "cpu") -> Encoder:
    """The pretrained CLIP named by ``source``, or the dataset's own evaluator, which is small and stays on the CPU."""
    if source is not None:
        return pretrained_encoder(source, device=device)
    folder = EMOJI / "evaluators" / "clip"
    return emoji_encoder(load_clip(folder), f"emoji evaluator:{fingerprint(folder)}")
