"""Real images that models' images are set beside: those of a folder, or rendered scenes of the emoji dataset."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from gad.config import Captions, FidelityConfig
from gad.config.sample_ids import FIDELITY, task_sample_ids
from gad.data.emoji import seeds
from gad.data.emoji.caption_split import evaluation_split_captions
from gad.data.emoji.scenes import make_scene, render_scenes
from gad.metrics.image_features import FeaturesOf
from gad.runtime.fingerprint import files_below
from gad.runtime.paths import project_path

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")  # 8 bits; Pillow would clip deeper ones to white


def real_image_files(config: FidelityConfig) -> list[Path]:
    """The first images by name of the folder ``data``, at any depth, as many as a model makes.

    Raises ValueError, in one line, for a folder that is missing or holds too few for the Fréchet distance.
    """
    assert config.data is not None
    folder, needed = project_path(config.data), 2 * config.axes
    paths = [path for path in files_below(folder) if path.suffix.lower() in ENDINGS]
    if len(paths) < needed:
        fault = f"{folder} holds {len(paths)} images, {needed} are needed on {config.axes} axes"
        raise ValueError(f"sensitivity.fidelity.data: {fault}; add some, or lower sensitivity.fidelity.axes")
    return paths[: config.num_images]


def _real_image(path: Path, side: int) -> Tensor:
    """The middle square of an image, ``[1, 3, side, side]`` in [-1, 1]."""
    try:
        with Image.open(path) as opened:
            if opened.mode not in MODES:
                raise ValueError(f"mode {opened.mode} has no 8 bits a channel; convert it")
            picture = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # a broken PNG is a SyntaxError
        reason = " ".join(str(error).replace(repr(str(path)), "it").split())
        raise ValueError(f"cannot read the real image {path}: {reason}") from error
    edge = min(picture.size)
    left, top = (picture.width - edge) // 2, (picture.height - edge) // 2
    picture = picture.crop((left, top, left + edge, top + edge)).resize((side, side), Image.Resampling.BICUBIC)
    flat = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return flat.view(1, side, side, 3).permute(0, 3, 1, 2).float() / 127.5 - 1


def real_features(
    config: FidelityConfig, dataset: str, features: FeaturesOf, side: int, captions: Captions = "all"
) -> Tensor | None:
    """Features of real images: a folder's, or scenes of the same captions; None where there are none."""
    if config.data is not None:
        return torch.cat([features(_real_image(path, side)) for path in real_image_files(config)])
    if dataset != "emoji":
        return None
    ids = task_sample_ids(FIDELITY, config.num_images)
    accept = evaluation_split_captions(captions)
    return features(render_scenes([make_scene(i, seed=seeds.NOISE_PAIRS, accept=accept) for i in ids]))
