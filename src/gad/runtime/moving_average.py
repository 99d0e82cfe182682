"""The exponential moving average of weights, as diffusers' ``EMAModel`` computes it, whose import takes seconds."""

from collections.abc import Iterable

import torch
from torch import nn


class MovingAverage:
    """Averaged copies of parameters: avg <- avg - (1 - d) (avg - parameter), with d = min(decay, n / (n + 9)) at update
    n, and d = 0 at the first one. Frozen parameters are copied. ``fused``: in one pass, which rounds otherwise."""

    def __init__(self, parameters: Iterable[nn.Parameter], *, decay: float, fused: bool = False):
        self.shadow_params = [parameter.clone().detach() for parameter in parameters]
        self.decay, self.fused = decay, fused
        self.optimization_step = 0

    @torch.no_grad()
    def step(self, parameters: Iterable[nn.Parameter]) -> None:
        """Average the parameters in."""
        earlier = self.optimization_step
        self.optimization_step += 1
        rest = 1 - (min((1 + earlier) / (10 + earlier), self.decay) if earlier else 0.0)
        learning = []
        for average, parameter in zip(self.shadow_params, parameters, strict=True):
            if parameter.requires_grad and self.fused:
                learning.append((average, parameter))
            elif parameter.requires_grad:
                average.sub_(rest * (average - parameter))
            else:
                average.copy_(parameter)
        if learning:
            averages, values = (list(part) for part in zip(*learning, strict=True))
            torch._foreach_lerp_(averages, values, rest)

    @torch.no_grad()
    def copy_to(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give the parameters the averages' values."""
        for average, parameter in zip(self.shadow_params, parameters, strict=True):
            parameter.data.copy_(average)

    def to(self, device: torch.device) -> None:
        self.shadow_params = [average.to(device) for average in self.shadow_params]

    def state_dict(self) -> dict:
        return {"optimization_step": self.optimization_step, "shadow_params": self.shadow_params}

    def load_state_dict(self, state: dict) -> None:
        self.optimization_step = state["optimization_step"]
        self.shadow_params = [average.clone() for average in state["shadow_params"]]
