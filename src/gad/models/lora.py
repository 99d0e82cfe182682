"""Adapters merged into a pipeline's networks by peft: W + scale * alpha / rank * B A, and whatever else peft merges."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from gad.models.lora_files import Adapter, read_lora_files
from gad.models.pipelines import pipeline_family
from gad.models.weights import one_line, weights_library_messages

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import DiffusionPipeline
    from peft import PeftModel

PREFIX = "base_model.model."
NAME = "default"  # of the adapter in peft


def merge_lora(pipeline: "DiffusionPipeline", path: Path, *, scale: float = 1.0) -> int:
    """Merge a file's adapters into the network of ``pipeline``, and for SD into its text encoder, in place.

    Returns how many layers changed. Networks on the device "meta" are only compared with the file. Raises ValueError,
    in one line, for what is no adapter, for a layer that a network does not have or whose shape does not fit, and for
    an adapter whose weights are not all there.
    """
    part = pipeline_family(pipeline).network
    names = (part, "text_encoder") if part == "unet" else (part,)
    networks = {name: getattr(pipeline, name) for name in names}
    changed = 0
    for name, adapter in read_lora_files(path, networks).items():
        try:
            with weights_library_messages():
                changed += _merge(networks[name], adapter, scale)
        except Exception as error:  # peft and torch raise many kinds
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise ValueError(
                f"{path.name} does not fit the {name} ({type(networks[name]).__name__}): {reason}"
            ) from error
    if not changed:
        raise ValueError(f"{path.name} changes no layer of the {part}")
    return changed


def _merge(network: nn.Module, adapter: Adapter, scale: float) -> int:
    from peft import PeftModel  # here, since it takes seconds
    from peft.tuners.tuners_utils import BaseTunerLayer

    only_shapes = any(parameter.is_meta for parameter in network.parameters())
    adapter.config.inference_mode = True
    model = PeftModel(network, adapter.config, adapter_name=NAME)
    _load(model, adapter)
    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    if scale != 1:
        for layer in layers:
            if not hasattr(layer, "scale_layer"):
                raise ValueError(f"an adapter of peft's type {adapter.config.peft_type} has no strength; lora_scale: 1")
            layer.scale_layer(scale)  # type: ignore[operator]
    model.unload() if only_shapes else model.merge_and_unload(safe_merge=True)  # safe: refuses what is not finite
    for left in ("peft_config", "active_adapter", "_hf_peft_config_loaded"):
        network.__dict__.pop(left, None)
    network.eval().requires_grad_(False)
    return len(layers)


def _load(model: "PeftModel", adapter: Adapter) -> None:
    """Put the adapter's weights into its layers. Raises ValueError unless each has its place and each place its own."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    given = {f"{PREFIX}{key}": value for key, value in adapter.weights.items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "for .*: copying from a non-meta parameter")  # shapes are all that is wanted
        set_peft_model_state_dict(model, given, NAME)
    places = get_peft_model_state_dict(model, adapter_name=NAME).keys()
    for words, keys in (("no weights for", places - given.keys()), ("no place for", given.keys() - places)):
        if keys:
            raise ValueError(f"{words} {one_line(ValueError(min(keys).removeprefix(PREFIX)))} ({len(keys)} such)")
