"""A run whose losses are no longer finite stops, with the term and the step named."""

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from accelerate import Accelerator


class NonFiniteLoss(FloatingPointError):
    """A loss term became infinite or NaN. The last checkpoint stays."""


class NanGuard:
    """Stops a run whose losses are no longer finite: at once on a CPU, elsewhere before anything is logged or saved.

    A device is not waited for at every step: it stores, for every number, the first step at which that was not finite,
    which is read when its numbers are read anyway.
    """

    def __init__(self, variant: str, seed: int, accelerator: "Accelerator"):
        self.whose = f"({variant}, seed {seed})"
        self.at_once = accelerator.device.type == "cpu" and accelerator.num_processes == 1
        self.first: dict[str, torch.Tensor] = {}  # step by name, infinite for numbers that have been finite throughout
        self.accelerator = accelerator

    def wide(self, number: torch.Tensor) -> torch.Tensor:
        return number if number.device.type == "mps" else number.double()

    def check_terms(self, means: dict[str, torch.Tensor], step: int) -> None:
        for name, mean in means.items():
            self._check(f"loss term {name!r}", mean, step)

    def check_norm(self, norm: torch.Tensor, step: int) -> None:
        self._check("the gradient's norm", norm, step)

    def _check(self, name: str, number: torch.Tensor, step: int) -> None:
        if not self.at_once:
            first = self.first.get(name, torch.full_like(number, math.inf))
            self.first[name] = torch.where(number.isfinite(), first, first.clamp(max=step))
        elif not number.isfinite():
            raise NonFiniteLoss(f"{name} is {number.item()} at step {step} {self.whose}")

    def raise_late(self) -> None:
        """Raise for the first number that was not finite, in any process; all of them know the same numbers."""
        if not self.first:
            return
        own = torch.stack([first.float() for first in self.first.values()])
        steps = self.accelerator.gather(own[None]).amin(0).tolist()
        step, name = min(zip(steps, self.first, strict=True), key=lambda pair: pair[0])
        if step < math.inf:
            raise NonFiniteLoss(f"{name} is not finite at step {int(step)} {self.whose}")
