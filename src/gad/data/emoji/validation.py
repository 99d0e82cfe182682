"""The dataset stage: the autoencoder and the evaluators that all emoji recipes share, measured on scenes none of them
saw.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gad.data.emoji import seeds
from gad.data.emoji.autoencoder import reconstruction_psnr
from gad.data.emoji.caption_accuracy import caption_accuracy
from gad.data.emoji.clip import emoji_clip_logits, load_emoji_clip
from gad.data.emoji.detector import Detector, detect_emoji_style, load_emoji_detector
from gad.data.emoji.evaluator_training import evaluator_reconstructions
from gad.data.emoji.scenes import Scene, make_scene, render_scenes
from gad.data.emoji.sprites import STYLES
from gad.diffusion.shapes import Latent
from gad.models.clip import Clip
from gad.models.weights import load_whole_weights
from gad.runtime.files import write_json
from gad.runtime.paths import metrics_file

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import AutoencoderKL

CANDIDATES = 64  # captions among which the CLIP evaluator chooses


def load_autoencoder(folder: Path) -> "AutoencoderKL":
    """An autoencoder as later stages see it, read back from half precision."""
    from diffusers import AutoencoderKL  # here, since it takes seconds

    return load_whole_weights(AutoencoderKL, folder).eval().requires_grad_(False)


def load_autoencoder_and_evaluators(folder: Path) -> tuple["AutoencoderKL", Detector, Clip]:
    """Autoencoder and evaluators in ``folder`` as later stages see them, read back from half precision."""
    vae = load_autoencoder(folder / "vae")
    return vae, load_emoji_detector(folder / "evaluators" / "detector"), load_emoji_clip(folder / "evaluators" / "clip")


def validation_scenes(count: int) -> tuple[list[Scene], Latent]:
    """Scenes that nothing learnt from, and their renderings ``[B, 3, 64, 64]`` in [-1, 1]."""
    scenes = [make_scene(index, seed=seeds.VALIDATION) for index in range(count)]
    return scenes, render_scenes(scenes)


def _in_parts(function: Callable[[Tensor], Tensor], images: Latent, *, batch_size: int = CANDIDATES) -> Tensor:
    """``function`` of all images, a few at a time."""
    return torch.cat([function(part) for part in images.split(batch_size)])


def _detector_accuracy(detector: Detector, images: Latent, scenes: list[Scene]) -> dict[str, float]:
    """Share of images, in [0, 1], whose caption's parts and whose art style are read right."""
    right = caption_accuracy(detector, images, [scene.prompt for scene in scenes])
    styles = torch.tensor([STYLES.index(scene.style) for scene in scenes])
    right["style_accuracy"] = (_in_parts(lambda part: detect_emoji_style(detector, part), images) == styles).float()
    return {name: values.nanmean().item() for name, values in right.items()}


@torch.no_grad()
def _retrieval_accuracy(clip: Clip, images: Latent, captions: list[str]) -> float:
    """Share of images, in [0, 1], whose best caption among ``CANDIDATES`` is their own; a last smaller group counts."""
    right = 0
    for start in range(0, len(captions), CANDIDATES):
        group = captions[start : start + CANDIDATES]
        best = emoji_clip_logits(clip, images[start : start + CANDIDATES], group).argmax(1).tolist()
        right += sum(group[i] == own for i, own in zip(best, group, strict=True))
    return right / len(captions)


def _measure_dataset(
    vae: "AutoencoderKL", detector: Detector, clip: Clip, *, num_scenes: int = 512, num_psnr_scenes: int = 256
) -> dict:
    """How sharp the autoencoder is, and how often the evaluators are right, on renderings and reconstructions."""
    scenes, images = validation_scenes(max(num_scenes, num_psnr_scenes))
    metrics: dict[str, float | dict[str, float]] = {
        "psnr_db": _in_parts(lambda part: reconstruction_psnr(vae, part), images[:num_psnr_scenes]).mean().item()
    }
    scenes, images = scenes[:num_scenes], images[:num_scenes]
    captions = [scene.prompt.caption for scene in scenes]
    seen = {"rendered": images, "reconstructed": _in_parts(lambda part: evaluator_reconstructions(vae, part), images)}
    for name, pictures in seen.items():
        accuracy = _detector_accuracy(detector, pictures, scenes)
        accuracy[f"caption_among_{CANDIDATES}"] = _retrieval_accuracy(clip, pictures, captions)
        metrics[name] = accuracy
    return metrics | {"num_scenes": num_scenes}


def record_dataset_validation(vae: "AutoencoderKL", compact: "AutoencoderKL", detector: Detector, clip: Clip) -> dict:
    """Write the dataset's measurements to ``data/emoji/metrics/dataset.json`` and return it."""
    metrics = _measure_dataset(vae, detector, clip)
    through_compact = _measure_dataset(compact, detector, clip)
    metrics["compact"] = {name: through_compact[name] for name in ("psnr_db", "reconstructed")}
    write_json(metrics_file("emoji", "dataset"), metrics)
    return metrics
