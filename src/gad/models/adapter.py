"""A LoRA on a network whose weights it shares: teacher, student and fake score hold one frozen base between them.

Each has a module tree of its own, whose layers are peft's where an adapter acts. The base's parameters are the very
same tensors in all trees, so nothing is switched from call to call: the teacher's tree has no adapter.
"""

import copy
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from gad.config.lora import LoraConfig
from gad.diffusion.denoiser import NetworkDenoiser
from gad.models.lora_files import Adapter
from gad.models.weights import one_line

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from peft import PeftConfig

NAME = "default"  # of the adapter in peft
WEIGHT = re.compile(r"\.lora_[A-Za-z_]+\.")  # in the name of an adapter's parameter


def has_adapter(network: nn.Module) -> bool:
    """Whether a network is a base with an adapter."""
    return hasattr(network, "peft_config")


def adapter_weights(network: nn.Module) -> dict[str, nn.Parameter]:
    """The adapter's parameters by their names in the network; none where it has no adapter."""
    if not has_adapter(network):
        return {}
    return {name: parameter for name, parameter in network.named_parameters() if WEIGHT.search(name)}


def adapter_base_parameters(network: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters under an adapter, which other networks may share; none where there is no adapter."""
    own = {id(parameter) for parameter in adapter_weights(network).values()}
    return (parameter for parameter in network.parameters() if own and id(parameter) not in own)


def adapter_settings(network: nn.Module) -> "PeftConfig":
    """peft's settings of the adapter that a network has."""
    settings: Any = network.peft_config  # an attribute that peft adds
    return settings[NAME]


def copied_but_for_base(denoiser: NetworkDenoiser) -> NetworkDenoiser:
    """A copy with weights of its own; the base under an adapter is shared."""
    return denoiser.copied(adapter_base_parameters(denoiser.network))


def adapter_config(config: LoraConfig) -> "PeftConfig":
    """peft's settings of a recipe's adapter."""
    from peft import LoraConfig as PeftLoraConfig  # here, since it takes seconds

    return PeftLoraConfig(r=config.rank, lora_alpha=config.strength, target_modules=sorted(config.targets))


def adapter_on_shared_base(base: NetworkDenoiser, config: "PeftConfig", *, seed: int = 0) -> NetworkDenoiser:
    """A denoiser with ``base``'s own weights, the same tensors, and an adapter that changes nothing yet.

    The adapter's weights depend on ``seed`` alone and are float32. ``base`` stays as it is, frozen. Raises ValueError,
    in one line, for a target that is no layer of the network, or one that peft cannot adapt.
    """
    from peft import inject_adapter_in_model  # here, since it takes seconds

    kind = type(base.network).__name__
    targets = config.target_modules
    for end in targets if isinstance(targets, list | set) else []:
        if not any(f".{name}".endswith(f".{end}") for name, _ in base.network.named_modules()):
            raise ValueError(f"student.lora.targets: no layer of {kind} is called {end}; name others")
    student = base.copied(base.network.parameters())
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            inject_adapter_in_model(config, student.network, adapter_name=NAME)
    except ValueError as error:
        raise ValueError(f"student.lora does not fit {kind}: {one_line(error)}") from error
    for parameter in adapter_weights(student.network).values():
        parameter.data = parameter.data.float()
    student.network.eval().requires_grad_(False)
    return student


def student_with_adapter(base: NetworkDenoiser, adapter: Adapter) -> NetworkDenoiser:
    """:func:`adapter_on_shared_base` with the weights of a file. Raises ValueError, in one line, unless all fit."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict  # here, since it takes seconds

    student = adapter_on_shared_base(base, adapter.config)
    places = get_peft_model_state_dict(student.network, adapter_name=NAME).keys()
    for words, keys in (
        ("no weights for", places - adapter.weights.keys()),
        ("no place for", adapter.weights.keys() - places),
    ):
        if keys:
            raise ValueError(f"{words} {min(keys)} ({len(keys)} such)")
    set_peft_model_state_dict(student.network, adapter.weights, NAME)
    return student


def fresh_adapter_like(student: NetworkDenoiser, base: NetworkDenoiser, *, seed: int) -> NetworkDenoiser:
    """An adapter of the student's shape, which changes nothing yet, on the weights of ``base``."""
    return adapter_on_shared_base(base, copy.deepcopy(adapter_settings(student.network)), seed=seed)


def count_adapter_parameters(network: nn.Module, config: LoraConfig) -> int:
    """Parameters of a recipe's adapter on a network, from shapes alone."""
    ends = tuple(f".{end}" for end in config.targets)
    found = 0
    for name, module in network.named_modules():
        if f".{name}".endswith(ends):
            if isinstance(module, nn.Linear):
                found += config.rank * (module.in_features + module.out_features)
            elif isinstance(module, nn.Conv2d):
                inside = module.in_channels // module.groups * module.kernel_size[0] * module.kernel_size[1]
                found += config.rank * (inside + module.out_channels)
    return found
