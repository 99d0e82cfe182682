"""Real images that models' images are set beside: those of a folder, or rendered scenes of the emoji dataset."""

from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from gad.config import FidelityConfig
from gad.config.sample_ids import FIDELITY, task_sample_ids
from gad.data.emoji import seeds
from gad.data.emoji.scenes import make_scene, render_scenes
from gad.metrics.image_features import FeaturesOf
from gad.runtime.paths import ROOT


def _folder_images(folder: Path, count: int, side: int) -> Iterator[Tensor]:
    """The first images of a folder by name, the middle square of each, ``[1, 3, side, side]`` in [-1, 1]."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"))
    if not paths:
        raise ValueError(f"there are no images in {folder}, which sensitivity.fidelity.data names")
    for path in paths[:count]:
        picture = Image.open(path).convert("RGB")
        edge = min(picture.size)
        left, top = (picture.width - edge) // 2, (picture.height - edge) // 2
        picture = picture.crop((left, top, left + edge, top + edge)).resize((side, side), Image.Resampling.BICUBIC)
        flat = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
        yield flat.view(1, side, side, 3).permute(0, 3, 1, 2).float() / 127.5 - 1


def real_features(config: FidelityConfig, dataset: str, features: FeaturesOf, side: int) -> Tensor | None:
    """Features of real images: a folder's, or scenes of the same captions; None where there are none."""
    if config.data is not None:
        return torch.cat([features(image) for image in _folder_images(ROOT / config.data, config.num_images, side)])
    if dataset != "emoji":
        return None
    ids = task_sample_ids(FIDELITY, config.num_images)
    return features(render_scenes([make_scene(i, seed=seeds.NOISE_PAIRS) for i in ids]))
