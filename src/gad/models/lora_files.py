"""Adapter files as peft takes them: weights by the layer of each network, and the settings that stand beside them.

The settings decide the strength of an adapter. peft keeps them in ``adapter_config.json``, diffusers in the header of
the file, kohya in tensors called ``alpha``; where a file has none of these its strength is 1, as in diffusers.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from gad.runtime.files import read_json, read_tensors

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from peft import PeftConfig

CONFIG = "adapter_config.json"
PEFT = "base_model.model."  # with which peft begins its names
KOHYA = re.compile(r"^lora_(unet|transformer|te1?)_(.+?)\.(lora_down\.weight|lora_up\.weight|alpha)$")
KOHYA_ENDS = {"lora_down.weight": "lora_A.weight", "lora_up.weight": "lora_B.weight", "alpha": "alpha"}
PARTS = re.compile(r"\.(lora_[A-Za-z_]+|lokr_\w+|hada_\w+|alpha)(\.weight|\.bias)?$")


@dataclass(frozen=True)
class Adapter:
    """What a file changes in one network: peft's config of it, and its weights by peft's names."""

    config: "PeftConfig"
    weights: dict[str, Tensor]


def read_lora_files(path: Path, networks: Mapping[str, nn.Module]) -> dict[str, Adapter]:
    """The adapter of each of ``networks`` (the first is the denoising one) that a safetensors file changes.

    Reads the names of peft, diffusers (old and new) and kohya. Raises ValueError, in one line, when the file holds
    anything else, or is peft's and its settings are not beside it.
    """
    main = next(iter(networks))
    tensors, config = read_tensors(path), path.parent / CONFIG
    if not tensors:
        raise ValueError(f"{path.name} holds no weights; fetch it again")
    if any(key.startswith(PEFT) for key in tensors) and not config.is_file():
        raise ValueError(f"{path.name} is of peft, whose {CONFIG} is not beside it; its alpha stands there")
    split: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        owner, name = _owner_and_name(key, networks, main, path)
        split.setdefault(owner, {})[name] = tensor
    header = _header(path)
    adapters = {}
    for owner, weights in split.items():
        weights = _as_peft_names(weights, networks[owner])
        _check_layers(weights, networks[owner], path)
        alphas = {name: weights.pop(f"{name}.alpha").item() for name in _layers(weights, ".alpha")}
        said = {key.removeprefix(f"{owner}."): value for key, value in header.items() if key.startswith(f"{owner}.")}
        if config.is_file() or said:
            if alphas:
                raise ValueError(f"{path.name} says alpha twice, in tensors and in its settings; remove one")
            adapters[owner] = Adapter(_config_of(config, said), weights)
        else:
            adapters[owner] = Adapter(_config_from_shapes(weights, alphas), weights)
    return adapters


def _owner_and_name(key: str, networks: Mapping[str, nn.Module], main: str, path: Path) -> tuple[str, str]:
    """Which network a key is of, and its name there; a name without a prefix is the denoising network's."""
    if "dora_scale" in key:
        raise ValueError(f"{path.name} holds {key!r}: kohya's DoRA, which diffusers does not read; convert it to peft")
    kohya = KOHYA.match(key)
    owner, name = main, key.removeprefix(PEFT)
    if kohya:
        owner = "text_encoder" if kohya[1].startswith("te") else main
        flat = {layer.replace(".", "_"): layer for layer, _ in networks.get(owner, nn.Module()).named_modules()}
        flat |= {f"text_model_{layer}": found for layer, found in flat.items()}  # as older versions name CLIP's
        name = f"{flat.get(kohya[2], kohya[2])}.{KOHYA_ENDS[kohya[3]]}"
    else:
        prefix = next((known for known in (*networks, "text_encoder") if name.startswith(f"{known}.")), None)
        owner, name = prefix or main, name.removeprefix(f"{prefix}.")
    if owner not in networks:
        raise ValueError(f"{path.name} changes the {owner} ({key!r}), which gad merges for SD alone; use one without")
    return owner, re.sub(r"\.default(?=\.weight$|\.bias$)", "", name)


def _as_peft_names(weights: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Weights by peft's names, from those of any version of diffusers."""
    from diffusers.utils import convert_state_dict_to_peft, convert_unet_state_dict_to_peft  # here: it takes seconds

    weights = convert_unet_state_dict_to_peft(weights)
    if any("lora_linear_layer" in key for key in weights):
        weights = convert_state_dict_to_peft(weights)
    if not hasattr(network, "text_model"):
        weights = {key.removeprefix("text_model."): value for key, value in weights.items()}
    return weights


def _check_layers(weights: dict[str, Tensor], network: nn.Module, path: Path) -> None:
    """Raise ValueError, in one line, for what is no adapter, or is one of a layer that the network does not have."""
    known = dict(network.named_modules())
    for key in weights:
        found = PARTS.search(key)
        layer = key[: found.start()] if found else key.rpartition(".")[0]
        if layer not in known:
            raise ValueError(f"{path.name} changes the layer {layer!r}, which {type(network).__name__} does not have")
        if not found and not (path.parent / CONFIG).is_file():  # peft may save whole modules: modules_to_save
            raise ValueError(f"{path.name} holds {key!r}, which is no LoRA weight that gad can merge")
    for one, other in ((".lora_A.weight", ".lora_B.weight"), (".lora_B.weight", ".lora_A.weight")):
        for layer in _layers(weights, one):
            if layer + other not in weights:
                raise ValueError(f"{path.name} holds only {one[1:]} of the layer {layer!r}, not {other[1:]}")


def _layers(weights: dict[str, Tensor], end: str) -> list[str]:
    return [key.removesuffix(end) for key in weights if key.endswith(end)]


def _header(path: Path) -> dict:
    """What diffusers has written about an adapter into its file's header; keys begin with the network's name."""
    from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY  # here, since it takes seconds
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        said = (file.metadata() or {}).get(LORA_ADAPTER_METADATA_KEY)
    try:
        return json.loads(said) if said else {}
    except ValueError as error:
        raise ValueError(f"{path.name}: its header {LORA_ADAPTER_METADATA_KEY!r} is no JSON") from error


def _config_of(path: Path, header: dict) -> "PeftConfig":
    """peft's config from its file, else from diffusers' header. Raises ValueError for options that peft does not
    know."""
    from peft import LoraConfig, PeftConfig  # here, since it takes seconds

    try:
        if not path.is_file():
            return LoraConfig(**header)
        read_json(path)  # peft would name no file
        return PeftConfig.from_pretrained(str(path.parent))
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        where = path if path.is_file() else "the header of the LoRA"
        raise ValueError(f"peft cannot read {where}: {' '.join(str(error).split())[:200]}") from error


def _config_from_shapes(weights: dict[str, Tensor], alphas: dict[str, float]) -> "PeftConfig":
    """A LoRA's config from its tensors: a layer's rank by its shape, its strength alpha / rank, or 1 without alpha."""
    from peft import LoraConfig  # here, since it takes seconds

    ranks = {layer: len(weights[f"{layer}.lora_A.weight"]) for layer in _layers(weights, ".lora_A.weight")}
    exact = {layer: f"^{re.escape(layer)}" for layer in ranks}  # else a pattern also fits layers that end like this one
    return LoraConfig(
        r=max(ranks.values(), default=1),
        rank_pattern={exact[layer]: rank for layer, rank in ranks.items()},
        alpha_pattern={exact[layer]: alphas.get(layer, rank) for layer, rank in ranks.items()},
        target_modules="|".join(re.escape(layer) for layer in ranks),
        use_dora=any(".lora_magnitude_vector" in key for key in weights),
        lora_bias=any(key.endswith(".lora_B.bias") for key in weights),
    )
