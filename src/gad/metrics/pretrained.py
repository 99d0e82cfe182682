"""What pretrained image networks want of images, and what to do where one is missing."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from gad.diffusion.shapes import Latent
from gad.models.weights import WeightsError, one_line
from gad.runtime.files import read_json
from gad.runtime.paths import folder_or_hub_name

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def preprocess_for_pretrained(
    images: Latent, side: int, mean: Sequence[float], std: Sequence[float]
) -> Float[Tensor, "B 3 s s"]:
    """Images in [-1, 1] as CLIP wants them: bicubic to the shorter side, the middle square, normalised."""
    pixels = (images.float().clamp(-1, 1) + 1) / 2
    height, width = pixels.shape[-2:]
    scale = side / min(height, width)
    size = (max(side, round(height * scale)), max(side, round(width * scale)))
    pixels = F.interpolate(pixels, size=size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    pixels = pixels[..., top : top + side, left : left + side]
    return (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def pretrained_normalisation(source: str, revision: str | None) -> tuple[list[float], list[float]]:
    """Mean and deviation of the pixels that a model was trained on; CLIP's own where its folder does not say."""
    from transformers.utils import cached_file  # here, since it takes seconds

    path = cached_file(
        folder_or_hub_name(source), "preprocessor_config.json", revision=revision,
        _raise_exceptions_for_missing_entries=False, _raise_exceptions_for_connection_errors=False,
        _raise_exceptions_for_gated_repo=False,
    )  # fmt: skip
    values = read_json(Path(path)) if path else {}
    return list(values.get("image_mean", CLIP_MEAN)), list(values.get("image_std", CLIP_STD))


def how_to_get_pretrained(source: str) -> str:
    """What to do about a metric model that is not there."""
    return f"no metric model {source!r} here: HF_HUB_OFFLINE=0 lets a run fetch it, or download it and name its folder"


def pretrained_model_error(source: str, error: Exception) -> ValueError:
    """Why a metric model cannot be used, in one line: it is not here, or its weights are not whole."""
    if isinstance(error, WeightsError):
        return ValueError(f"metric model {source}: {error}")
    return ValueError(f"{how_to_get_pretrained(source)} ({one_line(error)[:160]})")
