"""Features of images by name: the project's frozen EfficientNet-lite0, or any vision model of transformers."""

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import AutoModel

from gad.config.fidelity import EFFLITE0
from gad.scores.alignment import how_to_get, normalisation, preprocess
from gad.scores.features import efflite0_features

FeaturesOf = Callable[[Tensor], Tensor]
"""Images ``[B, 3, H, W]`` in [-1, 1] to features ``[B, D]``, float32."""


def load_features(source: str, *, batch_size: int = 64, device: torch.device | str = "cpu") -> FeaturesOf:
    """``efflite0``, or a transformers vision model (DINOv2, ViT, ConvNeXt, ...) from a hub name or local folder.

    Its pooled output is the feature, or the first token where it has none. That network works on ``device``; features
    are on the CPU. Raises ValueError, in one line that says how to get it, when the model is missing.
    """
    if source == EFFLITE0:
        return lambda images: efflite0_features(images, batch_size=batch_size)
    try:
        model = AutoModel.from_pretrained(source, dtype=torch.float32).eval().requires_grad_(False).to(device)
    except Exception as error:  # transformers raises many kinds for a folder that is missing or broken
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise ValueError(f"{how_to_get(source)} ({reason})") from error
    mean, std = normalisation(source, None)
    side = getattr(model.config, "image_size", 224)

    @torch.no_grad()
    def features(images: Tensor) -> Tensor:
        result = []
        for part in images.split(batch_size):
            output = model(pixel_values=preprocess(part, side, mean, std).to(device))
            pooled = getattr(output, "pooler_output", None)
            result.append((output.last_hidden_state[:, 0] if pooled is None else pooled).flatten(1).float().cpu())
        return torch.cat(result)

    return features
