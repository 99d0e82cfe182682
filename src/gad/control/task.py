"""What every control task is given and gives back."""

from dataclasses import dataclass

import pandas as pd
from torch import Tensor

from gad.control.models import generator_of
from gad.teachers.load import Model


@dataclass(frozen=True)
class Actor:
    """A teacher or student as the tasks use it."""

    name: str
    seed: int
    model: Model
    num_steps: int
    guidance_scale: float = 1.0
    batch_size: int = 64

    def generate(self, noise: Tensor, prompts: list[str]) -> Tensor:
        """Images ``[B, 3, H, W]`` in [-1, 1], or points ``[B, 2]``."""
        options = {"num_steps": self.num_steps, "guidance_scale": self.guidance_scale, "batch_size": self.batch_size}
        return generator_of(self.model, **options)(noise, prompts)


@dataclass(frozen=True)
class Answer:
    """One actor's answer to one task: a row per sample, and what it made."""

    rows: pd.DataFrame
    outputs: Tensor
