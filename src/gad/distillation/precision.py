"""How networks compute while a student trains: dtype, checkpointing, compilation, and the optimisers that fit."""

import warnings
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from gad.config import StudentConfig
from gad.diffusion.denoiser import Denoiser, NetworkDenoiser
from gad.diffusion.guidance import Guided


@runtime_checkable
class Trainable(Protocol):
    """What the loop asks of an objective; one may be wrapped, to be timed."""

    @property
    def auxiliary(self) -> nn.Module | None: ...

    def to(self, device): ...

    def terms(self, student, batch, generator): ...


@runtime_checkable
class WithAuxiliary(Protocol):
    """An objective that trains ``auxiliary`` beside the student."""

    @property
    def auxiliary(self) -> nn.Module: ...

    def auxiliary_loss(self, student, batch, generator: torch.Generator) -> Tensor: ...


def make_optimizer(parameters: list[nn.Parameter], config: StudentConfig, *, lr: float, betas: tuple[float, float]):
    """AdamW without decay: fused on a GPU, or with states of 8 bits, for which bitsandbytes has to be installed."""
    if config.optimizer == "adamw_8bit":
        try:
            from bitsandbytes.optim import AdamW8bit
        except ImportError as error:
            raise ValueError("optimizer adamw_8bit needs bitsandbytes; run: pip install bitsandbytes") from error
        return AdamW8bit(parameters, lr=lr, betas=betas, weight_decay=0.0)
    fused = True if parameters[0].device.type == "cuda" else None
    return torch.optim.AdamW(parameters, lr=lr, betas=betas, weight_decay=0.0, fused=fused)


def make_scaler(config: StudentConfig, device: torch.device) -> torch.amp.GradScaler:
    """A scaler of the loss for float16, whose small gradients would vanish; for other dtypes one that does nothing."""
    return torch.amp.GradScaler(device.type, enabled=config.dtype == "float16")


def _network_of(denoiser: Denoiser) -> NetworkDenoiser | None:
    inner = denoiser.denoiser if isinstance(denoiser, Guided) else denoiser
    return inner if isinstance(inner, NetworkDenoiser) else None


def networks_of(student: NetworkDenoiser, objective: Trainable) -> list[nn.Module]:
    """The networks that a training step asks: the student's, the auxiliary and the teacher's, where there are such.

    The features of LADD's discriminator are read from the objective's own teacher.
    """
    teacher = _network_of(objective.teacher) if hasattr(objective, "teacher") else None
    found = [student.network, objective.auxiliary, teacher.network if teacher is not None else None]
    return [network for network in found if network is not None]


def prepare_networks(
    student: NetworkDenoiser, objective: Trainable, config: StudentConfig, device: torch.device
) -> None:
    """Make the networks compute as ``config`` says on ``device``; with its defaults nothing changes.

    Student and fake score keep float32 weights and compute in the recipe's dtype. The teacher's weights are cast, which
    halves them: it has to be the objective's own copy. Raises ValueError for an option that a network does not have.
    """
    teacher = _network_of(objective.teacher) if hasattr(objective, "teacher") else None
    learning = [student] + ([objective.fake] if hasattr(objective, "fake") else [])
    if config.dtype != "float32":
        dtype = getattr(torch, config.dtype)
        for denoiser in learning:
            denoiser.compute = dtype
        if teacher is not None:
            teacher.network.to(dtype)
    denoisers = learning + ([teacher] if teacher is not None else [])
    if config.channels_last:
        for denoiser in denoisers:
            _channels_last(denoiser.network)
    if config.gradient_checkpointing:
        # the score identity and LADD send gradients through the teacher as well
        for denoiser in denoisers:
            _checkpoint(denoiser.network)
    if config.compile and can_compile(device):
        for denoiser in denoisers:
            denoiser.network.compile()


def _channels_last(network: nn.Module) -> None:
    if not hasattr(network, "down_blocks"):
        raise ValueError(f"channels_last is for UNets, not for {type(network).__name__}")
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's overloads lack it


def _checkpoint(network: nn.Module) -> None:
    enable = getattr(network, "enable_gradient_checkpointing", None)
    if enable is None:
        raise ValueError(f"gradient_checkpointing is for diffusers networks, not for {type(network).__name__}")
    enable()


def can_compile(device: torch.device) -> bool:
    """Whether torch.compile works on this machine; says so in one line where it does not."""
    try:
        torch.compile(lambda x: 2 * x + 1)(torch.ones(4, device=device))
    except Exception as error:  # no compiler, no Triton, an unknown device: many kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        warnings.warn(f"torch.compile does not work here, going on without: {reason}", stacklevel=2)
        return False
    torch._dynamo.config.suppress_errors = True  # what cannot be compiled runs as it is
    return True
