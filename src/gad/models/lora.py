"""LoRA weights merged into a network, without peft: W + scale * alpha / rank * B A, for every layer that has them."""

import re
from pathlib import Path

import torch
from torch import Tensor, nn

from gad.runtime.files import read_tensors

_PARTS = re.compile(
    r"^(?P<module>.+?)\.(lora_A|lora_down|lora\.down|lora_B|lora_up|lora\.up|alpha)(\.default)?(\.weight)?$"
)
_PREFIXES = ("base_model.model.", "unet.", "transformer.", "lora_unet_", "lora_transformer_")


def _bare(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name.removesuffix(".processor")


def _read_lora(path: Path) -> dict[str, dict[str, Tensor]]:
    """``down`` [r, in], ``up`` [out, r] and, where the file says it, ``alpha`` of each layer, by its bare name.

    Reads the names of diffusers, peft and kohya. Raises ValueError when the file holds anything else, such as the text
    encoder's.
    """
    layers: dict[str, dict[str, Tensor]] = {}
    for key, tensor in read_tensors(path).items():
        found = _PARTS.match(key)
        if not found:
            raise ValueError(f"{path.name} holds {key!r}, which is no LoRA weight that gad can merge")
        part = found[2].replace("lora_A", "down").replace("lora_B", "up").removeprefix("lora_").removeprefix("lora.")
        layers.setdefault(_bare(found["module"]), {})[part] = tensor.float()
    return layers


@torch.no_grad()
def merge_lora(network: nn.Module, path: Path, *, scale: float = 1.0) -> int:
    """Add the file's update to ``network`` in place; returns how many layers changed.

    Raises ValueError, in one line, for a layer that the network does not have or whose shape does not fit.
    """
    modules = {name: module for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    modules |= {name.replace(".", "_"): module for name, module in modules.items()}  # as kohya writes them
    layers = _read_lora(path)
    for name, parts in layers.items():
        if name not in modules:
            raise ValueError(f"{path.name} changes the layer {name!r}, which {type(network).__name__} does not have")
        if not {"down", "up"} <= parts.keys():
            raise ValueError(f"{path.name} holds only {', '.join(parts)} of the layer {name!r}")
        weight, rank = modules[name].weight, len(parts["down"])
        strength = scale * (parts["alpha"].item() / rank if "alpha" in parts else 1.0)
        update = strength * _product(parts["up"], parts["down"])
        if update.numel() != weight.numel() or len(update) != len(weight):
            raise ValueError(f"{path.name}: layer {name!r} has {tuple(weight.shape)}, the LoRA {tuple(update.shape)}")
        weight += update.view_as(weight).to(weight)
    return len(layers)


def _product(up: Tensor, down: Tensor) -> Tensor:
    """B A as a matrix; a convolution's A has its kernel in the columns, its B is 1x1."""
    return up.flatten(1) @ down.flatten(1)
