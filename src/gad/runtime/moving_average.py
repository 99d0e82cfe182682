"""The exponential moving average of weights, as diffusers' ``EMAModel`` computes it, whose import takes seconds."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

GROUP = 2**26  # elements: what a group of tensors that are averaged in at once may take besides


def _groups(pairs: Sequence[tuple[Tensor, Tensor]]) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """The averages and the values of ``pairs``, some at a time: a GPU takes a group in a few kernels."""
    averages: list[Tensor] = []
    values: list[Tensor] = []
    size = 0
    for average, value in pairs:
        averages.append(average)
        values.append(value)
        size += average.numel()
        if size >= GROUP:
            yield averages, values
            averages, values, size = [], [], 0
    if averages:
        yield averages, values


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
            if parameter.requires_grad:
                learning.append((average, parameter))
            else:
                average.copy_(parameter)
        for averages, values in _groups(learning):
            if self.fused:
                torch._foreach_lerp_(averages, values, rest)
            else:
                steps = torch._foreach_sub(averages, values)
                torch._foreach_mul_(steps, rest)
                torch._foreach_sub_(averages, steps)

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
