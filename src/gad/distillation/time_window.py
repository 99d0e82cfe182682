"""Where GAD acts: in an interval of times, at a fraction of the steps. The cheap settings, and the paper's Table 8."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gad.diffusion.shapes import PerSample


@dataclass(frozen=True)
class TimeWindow:
    """``low`` <= t <= ``high``, and ``fraction`` of the steps, their weight raised so that the mean stays."""

    low: float = 0.0
    high: float = 1.0
    fraction: float = 1.0

    def step_weight(self, weight: float, generator: torch.Generator) -> float:
        """``weight`` / fraction at the steps that are drawn, else 0. Nothing is drawn where nothing depends on it."""
        if not weight or self.fraction == 1:
            return weight
        return weight / self.fraction if torch.rand((), generator=generator) < self.fraction else 0.0

    @property
    def always(self) -> bool:
        """Whether every time lies in the interval."""
        return self.low <= 0 and self.high >= 1

    def opens(self, t: PerSample) -> Tensor:
        """Which of the times lie in the interval."""
        return (t >= self.low) & (t <= self.high)

    def mean(self, term: PerSample, t: PerSample) -> Tensor:
        """Mean of ``term`` over the batch, counted as 0 outside the interval."""
        return (term * self.opens(t)).mean()
