"""When a student is validated while it trains: its moving average, which is what is saved, after a few of the steps."""

from collections.abc import Callable

import torch

from gad.config import StudentConfig
from gad.diffusion.denoiser import NetworkDenoiser
from gad.distillation.learning_weights import learning_parameters
from gad.distillation.training_state import TrainingState
from gad.models.adapter import copied_but_for_base

Validate = Callable[[int, NetworkDenoiser], None]
"""Measures a student after so many steps and writes what it finds."""


class AverageValidation:
    """Calls ``validate`` with a copy of the student that holds its average; None validates nothing.

    Training is not disturbed: the copy shares no weights that learn, computes as a saved student does (an adapter's
    base in the dtype that it is trained in), and global random states are afterwards what they were. To be made before
    networks are prepared for training.
    """

    def __init__(self, student: NetworkDenoiser, config: StudentConfig, validate: Validate | None):
        self.validate = validate
        wanted = None if validate is None else config.validation
        self.steps = frozenset() if wanted is None else frozenset(wanted.steps(config.num_steps))
        self.copy = copied_but_for_base(student) if self.steps else None

    def due(self, done: int) -> bool:
        """Whether the student is validated after ``done`` steps."""
        return done in self.steps

    def __call__(self, done: int, state: TrainingState) -> None:
        """Validate the average after ``done`` steps, where it is due."""
        if not self.due(done):
            return
        assert self.copy is not None and self.validate is not None
        self.copy.to(state.accelerator.device).network.eval().requires_grad_(False)
        state.average.copy_to(learning_parameters(self.copy.network))
        with torch.random.fork_rng():
            self.validate(done, self.copy)
