"""Scores of an image with its prompt behind one signature: ``score(images, prompts) -> [B]``, higher is better.

The emoji dataset's own CLIP, or any CLIPModel of transformers: OpenAI's CLIP (cosine, x 100 as tables print it),
PickScore (the same network retrained on choices; exp(logit_scale) times the cosine), HPSv2 in a transformers copy
(cosine). A score is named in the recipe for what it is.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gad.config import ScoreConfig
from gad.diffusion.shapes import Latent, PerSample
from gad.metrics.clip_encoder import Encoder, load_clip_encoder

Score = Callable[[Tensor, Sequence[str]], Tensor]
"""Images ``[B, 3, H, W]`` in [-1, 1] and a prompt each, to one number per image."""

OWN = "CLIP score (own evaluator)"


def _scaled(encoder: Encoder, factor: float = 1.0) -> Score:
    """The cosine of image and prompt times a factor, without gradient."""

    @torch.no_grad()
    def scaled(images: Latent, prompts: Sequence[str]) -> PerSample:
        return factor * clip_cosine_score(encoder, images, prompts)

    return scaled


def load_clip_score(config: ScoreConfig, *, device: torch.device | str = "cpu") -> Score:
    """The score of a CLIPModel from a hub name or a local folder. Raises as :func:`load_clip_encoder`."""
    encoder = load_clip_encoder(config.model, tokenizer=config.tokenizer, revision=config.revision, device=device)
    factors = {"cosine": 1.0, "percent": 100.0, "logit": encoder.inverse_temperature}
    return _scaled(encoder, factors[config.scale])


def load_all_clip_scores(configs: dict[str, ScoreConfig], *, device: torch.device | str = "cpu") -> dict[str, Score]:
    """Every score of a recipe by its name; without any that of the emoji dataset's own CLIP, on the CPU."""
    if not configs:
        return {OWN: _scaled(load_clip_encoder(None))}
    return {name: load_clip_score(config, device=device) for name, config in configs.items()}


def clip_scores_in_batches(score: Score, images: Latent, prompts: Sequence[str], *, batch_size: int = 64) -> PerSample:
    """The score of every image, a few at a time. Raises ValueError for images with NaN."""
    if not images.isfinite().all():
        bad = (~images.isfinite()).flatten(1).any(1).nonzero().flatten().tolist()
        raise ValueError(f"images {bad[:5]} are not finite and cannot be scored")
    parts = torch.arange(len(images)).split(batch_size)
    return torch.cat([score(images[part], [prompts[i] for i in part.tolist()]) for part in parts])


def clip_cosine_score(encoder: Encoder, images: Tensor, prompts: Sequence[str]) -> PerSample:
    """Cosine of each image with its own prompt, in [-1, 1]; higher is better."""
    return (encoder.images(images) * encoder.texts(prompts)).sum(1)
