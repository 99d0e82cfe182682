"""Which of a network's weights learn: all of them, or those of its adapter alone."""

import torch
from torch import Tensor, nn

from gad.models.adapter import adapter_base_parameters, adapter_weights, has_adapter


def learning_parameters(network: nn.Module) -> list[nn.Parameter]:
    """The parameters that an optimiser updates."""
    return list(adapter_weights(network).values()) if has_adapter(network) else list(network.parameters())


def let_weights_learn(network: nn.Module, learn: bool = True) -> None:
    """Have the learning parameters ask for gradients, or no longer; a base under an adapter never does."""
    network.requires_grad_(False)
    if learn:
        for parameter in learning_parameters(network):
            parameter.requires_grad_(True)


def cast_adapter_base(network: nn.Module, dtype: torch.dtype) -> None:
    """Put the base under an adapter in ``dtype``, in place and for all that share it; nothing without an adapter."""
    for parameter in adapter_base_parameters(network):
        parameter.data = parameter.data.to(dtype)


class LearningWeights:
    """An adapter as checkpoints and starts hold it: by its own weights, without the base."""

    def __init__(self, network: nn.Module):
        self.network = network

    def state_dict(self) -> dict[str, Tensor]:
        return {name: parameter.detach() for name, parameter in adapter_weights(self.network).items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        own = adapter_weights(self.network)
        if own.keys() != state.keys():
            raise ValueError(f"{min(own.keys() ^ state.keys())} is a weight of one adapter and not of the other")
        for name, parameter in own.items():
            parameter.data.copy_(state[name])


def learning_weights(network: nn.Module) -> nn.Module | LearningWeights:
    """What of a network is written and read again while it trains: itself, or its adapter."""
    return LearningWeights(network) if has_adapter(network) else network
