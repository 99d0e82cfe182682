"""A run whose losses are no longer finite stops, with the term and the step named."""

import torch
from accelerate import Accelerator


class NonFiniteLoss(FloatingPointError):
    """A loss term became infinite or NaN. The last checkpoint is kept."""


class Watch:
    """Stops a run whose losses are no longer finite: at once on a CPU, elsewhere before anything is logged or saved.

    A device is not waited for at every step: it keeps a flag, which is read when its numbers are read anyway.
    """

    def __init__(self, variant: str, seed: int, accelerator: Accelerator):
        self.whose = f"({variant}, seed {seed})"
        self.at_once = accelerator.device.type == "cpu" and accelerator.num_processes == 1
        self.finite = torch.ones((), dtype=torch.bool, device=accelerator.device)
        self.accelerator = accelerator

    def wide(self, number: torch.Tensor) -> torch.Tensor:
        return number if number.device.type == "mps" else number.double()

    def check_terms(self, means: dict[str, torch.Tensor], step: int) -> None:
        for name, mean in means.items():
            if not self.at_once:
                self.finite &= mean.isfinite()
            elif not mean.isfinite():
                raise NonFiniteLoss(f"loss term {name!r} is {mean.item()} at step {step} {self.whose}")

    def check_norm(self, norm: torch.Tensor, step: int) -> None:
        if not self.at_once:
            self.finite &= norm.isfinite()
        elif not norm.isfinite():
            raise NonFiniteLoss(f"the gradient's norm is {norm.item()} at step {step} {self.whose}")

    def raise_late(self, step: int) -> None:
        """Raise if any step since the last call was not finite, in any process."""
        if self.at_once:
            return
        if not self.accelerator.reduce(self.finite.float(), reduction="mean").item() == 1:
            raise NonFiniteLoss(f"a loss or gradient is not finite at step {step} or shortly before {self.whose}")
