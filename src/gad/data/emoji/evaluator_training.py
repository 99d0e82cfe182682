"""Training of the evaluators on fresh scenes, half of them seen through the autoencoder that evaluated images pass."""

from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from gad.data.emoji import seeds
from gad.data.emoji.clip import emoji_clip_logits
from gad.data.emoji.detector import WEIGHTS, Detector, detector_losses
from gad.data.emoji.detector_grid import detector_grid_targets
from gad.data.emoji.scenes import Scene, make_scene, render_scenes
from gad.models.clip import Clip

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import AutoencoderKL

POOL = 1024  # reconstructions in memory; each batch takes a random part, so one decoding serves several steps
RENEWED = 8  # reconstructions made fresh at each step
LATENT_NOISE = 0.1  # largest noise on the latents before decoding, in units of their own scale
PIXEL_NOISE = 0.05  # largest pixel noise, for images in [-1, 1]


@torch.no_grad()
def evaluator_reconstructions(vae: "AutoencoderKL", images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Images through the autoencoder; with a generator, their latents get up to ``LATENT_NOISE`` of noise."""
    latents = vae.encode(images).latent_dist.mean
    if generator is not None:
        scale = LATENT_NOISE * torch.rand(len(images), 1, 1, 1, generator=generator) / vae.config.scaling_factor
        latents = latents + scale * torch.randn(latents.shape, generator=generator)
    return vae.decode(latents).sample.clamp(-1, 1)


def _soften(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images with a random part of a 3x3 blur and of pixel noise."""
    blurred = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    part, scale = torch.rand(2, len(images), 1, 1, 1, generator=generator)
    noise = torch.randn(images.shape, generator=generator)
    return images.lerp(blurred, 0.6 * part.square()) + PIXEL_NOISE * scale.square() * noise


def _batches(vae: "AutoencoderKL", *, batch_size: int, seed: int) -> Iterator[tuple[list[Scene], Tensor]]:
    """Scenes and their images without end: fresh renderings, and from the pool as many reconstructions."""
    generator = torch.Generator().manual_seed(seed)
    fresh = (make_scene(index, seed=seeds.EVALUATORS + seed, layout="free") for index in count())
    pool: list[tuple[Scene, Tensor]] = []
    while True:
        passed = [next(fresh) for _ in range(RENEWED if pool else batch_size)]
        pool = (
            pool + list(zip(passed, evaluator_reconstructions(vae, render_scenes(passed), generator), strict=True))
        )[-POOL:]
        chosen = torch.randperm(len(pool), generator=generator)[: batch_size // 2].tolist()
        rendered = [next(fresh) for _ in range(batch_size - len(chosen))]
        images = torch.cat([render_scenes(rendered), torch.stack([pool[i][1] for i in chosen])])
        yield rendered + [pool[i][0] for i in chosen], _soften(images, generator)


def _steps(parameters: list[Tensor], losses: Iterator[dict], *, num_steps: int, lr: float) -> Iterator[dict]:
    """Take one AdamW step per loss, cosine learning rate; yield step and mean losses."""
    optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.99), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=num_steps, pct_start=0.1)
    for step, parts in zip(range(num_steps), losses, strict=False):
        loss = sum(parts.values())
        if not loss.isfinite():
            raise FloatingPointError(f"evaluator loss is {loss.item()} at step {step}")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        schedule.step()
        yield {"step": step, **{name: part.item() for name, part in parts.items()}}


def train_detector(
    detector: Detector, vae: "AutoencoderKL", *, num_steps: int, batch_size: int, lr: float, seed: int
) -> Iterator[dict]:
    """Yield the weighted losses of every step; the detector ends in evaluation mode."""
    detector.train().requires_grad_(True)
    detector.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a quarter faster on a CPU

    def losses() -> Iterator[dict]:
        for scenes, images in _batches(vae, batch_size=batch_size, seed=seed):
            parts = detector_losses(detector(images), detector_grid_targets(scenes))
            yield {name: WEIGHTS[name] * part.mean() for name, part in parts.items()}

    yield from _steps(list(detector.parameters()), losses(), num_steps=num_steps, lr=lr)
    detector.eval().requires_grad_(False)


def train_clip(
    clip: Clip, vae: "AutoencoderKL", *, num_steps: int, batch_size: int, lr: float, seed: int
) -> Iterator[dict]:
    """Yield the symmetric contrastive loss of every step; equal captions in a batch are no negatives of each other."""
    clip.model.train().requires_grad_(True)

    def losses() -> Iterator[dict]:
        for scenes, images in _batches(vae, batch_size=batch_size, seed=seed):
            captions = [scene.prompt.caption for scene in scenes]
            same = torch.tensor([[a == b for b in captions] for a in captions])
            truth = same / same.sum(1, keepdim=True)
            scores = emoji_clip_logits(clip, images, captions)  # B B, image by caption
            yield {"contrastive": (F.cross_entropy(scores, truth) + F.cross_entropy(scores.T, truth)) / 2}

    yield from _steps(list(clip.model.parameters()), losses(), num_steps=num_steps, lr=lr)
    clip.model.eval().requires_grad_(False)
