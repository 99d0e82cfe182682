"""What a training loop needs of an objective, and the networks that an objective brings."""

import copy
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from gad.config import StudentConfig
from gad.diffusion.denoiser import Denoiser, NetworkDenoiser
from gad.diffusion.guidance import unguided
from gad.models.model import Model

UNWEIGHTED = "unweighted_"  # names the terms that an objective leaves to be weighed by their gradients


@dataclass(frozen=True)
class Networks:
    """The denoisers with a network that an objective evaluates beside the student's.

    ``learning`` ones train along (a fake score), ``frozen`` ones do not (a teacher; the exact one has no network).
    """

    learning: tuple[NetworkDenoiser, ...] = ()
    frozen: tuple[NetworkDenoiser, ...] = ()


@runtime_checkable
class Trainable(Protocol):
    """An objective, or what stands in for one, to time it.

    ``auxiliary`` is the module that it trains beside the student with ``auxiliary_loss``, or None.
    """

    @property
    def auxiliary(self) -> nn.Module | None: ...

    def networks(self) -> Networks: ...

    def to(self, device): ...

    def terms(self, student, batch, generator: torch.Generator) -> dict[str, Tensor]: ...


@runtime_checkable
class WithAuxiliary(Protocol):
    """An objective that trains ``auxiliary`` beside the student; ``auxiliary_loss`` is ``[B]``."""

    @property
    def auxiliary(self) -> nn.Module: ...

    def auxiliary_loss(self, student, batch, generator: torch.Generator) -> Tensor: ...


@runtime_checkable
class WithRollout(Protocol):
    """An objective whose two updates of a step may begin with the same states or samples of the student.

    ``rollout`` is None where each makes its own; else ``auxiliary_loss`` and ``terms`` take it after the generator.
    """

    def rollout(self, student, batch, generator: torch.Generator): ...


def trainable_denoiser(denoiser: Denoiser) -> tuple[NetworkDenoiser, ...]:
    """The denoiser under any guidance, if it has a network; else nothing."""
    bare = unguided(denoiser)
    return (bare,) if isinstance(bare, NetworkDenoiser) else ()


def teacher_copy_for_training(teacher: Model, config: StudentConfig) -> Model:
    """The teacher itself, or where its weights will be cast or parted a copy: students start from all their bits."""
    if config.dtype == "float32" and not config.shard or not isinstance(teacher.denoiser, NetworkDenoiser):
        return teacher
    return replace(teacher, denoiser=copy.deepcopy(teacher.denoiser))
