"""Detectors in local folders or under hub names: of the DETR kind, or a Mask2Former."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from gad.metrics.instance_detector import InstanceDetector
from gad.metrics.object_detector import HubDetector
from gad.models.weights import load_whole_weights, one_line
from gad.runtime.paths import folder_or_hub_name

if TYPE_CHECKING:  # at run time it is imported where it is needed: it takes a while
    from transformers import PreTrainedModel

MASKS = "mask2former"  # what transformers calls networks whose detections have masks


def object_detector_network(name: str, *, shapes_only: bool = False, **options: Any) -> "PreTrainedModel":
    """The network of a detector in a local folder or under a hub name, float32, frozen; with ``shapes_only`` on the
    device "meta". Raises ValueError, in one line, when it cannot be loaded whole."""
    from transformers import AutoConfig, AutoModelForObjectDetection, AutoModelForUniversalSegmentation  # takes seconds

    source = folder_or_hub_name(name)
    try:
        kind = AutoConfig.from_pretrained(source, **options).model_type
        network = load_whole_weights(
            AutoModelForUniversalSegmentation if kind == MASKS else AutoModelForObjectDetection,
            source,
            shapes_only=shapes_only,
            use_safetensors=True,
            **options,
        )
    except Exception as error:  # transformers raises many kinds for a broken folder
        raise ValueError(f"cannot load an object detector from {name}: {one_line(error)}") from error
    return network.eval().requires_grad_(False)


def load_hub_detector(
    name: str, *, device: torch.device | str = "cpu", masks: bool = True
) -> HubDetector | InstanceDetector:
    """The detector in a local folder or under a hub name, float32, frozen, its network on ``device``; one that sees
    masks gives them where ``masks`` are wanted.

    Raises ValueError, in one line, when it cannot be loaded whole.
    """
    network = object_detector_network(name).to(device)
    return InstanceDetector(network, masks=masks) if network.config.model_type == MASKS else HubDetector(network)


def missing_detector_labels(detector: HubDetector | InstanceDetector, nouns: Sequence[str]) -> list[str]:
    """The nouns that the detector has no label for, sorted."""
    return sorted(set(nouns) - set(detector.network.config.id2label.values()))
