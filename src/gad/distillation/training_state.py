"""What is trained in a run: networks with their optimizers, learning rate and moving average, and checkpoints of them.

The networks of student and objective are prepared first (:func:`gad.distillation.network_setup.set_up_networks`).
"""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gad.config import StudentConfig
from gad.distillation.gradient_ratio import GradientRatio
from gad.distillation.learning_rate import cosine_with_warmup
from gad.distillation.learning_weights import learning_parameters, learning_weights
from gad.distillation.network_setup import make_scaler
from gad.distillation.optimizer import make_student_optimizer
from gad.distillation.trainable import Trainable
from gad.runtime.checkpoint import resume_checkpoint_parts, save_checkpoint_parts
from gad.runtime.distributed import average_gradients
from gad.runtime.fsdp import full_tensor, unsharded_state
from gad.runtime.moving_average import MovingAverage

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from accelerate import Accelerator


class Optimised:
    """A network that learns, its optimizer, and the scaler of its loss."""

    def __init__(
        self,
        network: nn.Module,
        config: StudentConfig,
        accelerator: "Accelerator",
        *,
        lr: float,
        betas: tuple[float, float],
    ):
        self.network, self.accelerator, self.max_grad_norm = network, accelerator, config.max_grad_norm
        self.parameters = learning_parameters(network)
        self.optimizer = make_student_optimizer(self.parameters, config, lr=lr, betas=betas)
        self.scaler = make_scaler(config, accelerator.device)

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a scalar loss to what the parameters hold."""
        self.scaler.scale(loss).backward()

    def clip_gradients(self) -> Tensor:
        """Average the gradients over the processes and clip them; return their norm before clipping, a scalar."""
        average_gradients(self.parameters, self.accelerator)
        self.scaler.unscale_(self.optimizer)
        return full_tensor(torch.nn.utils.clip_grad_norm_(self.parameters, self.max_grad_norm))

    def step(self) -> None:
        """Update the parameters and forget their gradients."""
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()

    def parts(self, name: str, prefix: str = "") -> dict:
        """What a checkpoint holds: the network or its adapter under ``name``, the rest under names with ``prefix``."""
        parts = {name: learning_weights(self.network), f"{prefix}optimizer": self.optimizer}
        return parts | ({f"{prefix}scaler": self.scaler} if self.scaler.is_enabled() else {})


class TrainingState:
    """Student, moving average, learning-rate schedule and, where the objective has one, the auxiliary network.

    ``auxiliary`` is None without one. With ``shard`` a checkpoint holds whole tensors: all processes gather them, the
    first one writes.
    """

    def __init__(self, network: nn.Module, objective: Trainable, config: StudentConfig, accelerator: "Accelerator"):
        self.student = Optimised(network, config, accelerator, lr=config.lr, betas=(0.9, 0.999))
        self.schedule = cosine_with_warmup(self.student.optimizer, config.warmup_steps, config.num_steps)
        self.average = MovingAverage(
            self.student.parameters, decay=config.ema_decay, fused=config.optimizer == "adamw_fused"
        )
        self.auxiliary = None
        if objective.auxiliary is not None:
            lr = config.auxiliary_lr_ratio * config.lr
            self.auxiliary = Optimised(objective.auxiliary.train(), config, accelerator, lr=lr, betas=(0.0, 0.95))
        self.accelerator, self.sharded = accelerator, config.shard
        self.gradient_ratio = None
        if config.gradient_ratio is not None:
            self.gradient_ratio = GradientRatio(config.gradient_ratio, config.gradient_ratio_every, accelerator)

    def step(self) -> None:
        """Update the student, its learning rate and its average."""
        self.student.step()
        self.schedule.step()
        self.average.step(self.student.parameters)

    def save(self, path: Path, done: int) -> None:
        """Write a checkpoint after ``done`` steps, or help to gather it."""
        first = self.accelerator.is_main_process
        if first or self.sharded:
            save_checkpoint_parts(path, self._parts(), {"step": done}, writes=first)

    def resume(self, path: Path) -> int:
        """Load a checkpoint if there is one; return the number of steps that are done."""
        done = resume_checkpoint_parts(path, self._parts()).get("step", 0)
        self.average.to(self.accelerator.device)
        return done

    def _parts(self) -> dict:
        """What a checkpoint holds, by name."""
        parts = self.student.parts("network") | {"schedule": self.schedule, "average": self.average}
        if self.auxiliary is not None:
            parts |= self.auxiliary.parts("auxiliary", "auxiliary_")
        if self.gradient_ratio is not None:
            parts["gradient_ratio"] = self.gradient_ratio
        return {name: unsharded_state(part) for name, part in parts.items()} if self.sharded else parts
