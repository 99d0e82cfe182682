"""How networks compute while a student trains: dtype, checkpointing, compilation, and the optimisers that fit."""

import warnings

import torch
from torch import nn

from gad.config import StudentConfig
from gad.diffusion.denoiser import NetworkDenoiser
from gad.distillation.trainable import Trainable
from gad.runtime.fsdp import shard


def make_student_optimizer(
    parameters: list[nn.Parameter], config: StudentConfig, *, lr: float, betas: tuple[float, float]
):
    """AdamW without decay: fused on a GPU, and elsewhere where the recipe says so, or with states of 8 bits, for which
    bitsandbytes has to be installed."""
    if config.optimizer == "adamw_8bit":
        try:
            from bitsandbytes.optim import AdamW8bit
        except ImportError as error:
            raise ValueError("optimizer adamw_8bit needs bitsandbytes; run: pip install bitsandbytes") from error
        return AdamW8bit(parameters, lr=lr, betas=betas, weight_decay=0.0)
    fused = True if parameters[0].device.type == "cuda" or config.optimizer == "adamw_fused" else None
    return torch.optim.AdamW(parameters, lr=lr, betas=betas, weight_decay=0.0, fused=fused)


def make_scaler(config: StudentConfig, device: torch.device) -> torch.amp.GradScaler:
    """A scaler of the loss for float16, whose small gradients would vanish; for other dtypes one that does nothing."""
    return torch.amp.GradScaler(device.type, enabled=config.dtype == "float16")


def networks_of_training_step(student: NetworkDenoiser, objective: Trainable) -> list[nn.Module]:
    """The networks that a training step calls: the student's, the auxiliary and the teacher's, where there are such.

    The features of LADD's discriminator are read from the objective's own teacher.
    """
    auxiliary = [] if objective.auxiliary is None else [objective.auxiliary]
    return [student.network, *auxiliary, *(denoiser.network for denoiser in objective.networks().frozen)]


def prepare_networks(
    student: NetworkDenoiser, objective: Trainable, config: StudentConfig, device: torch.device
) -> None:
    """Make the networks compute as ``config`` says on ``device``; with its defaults nothing changes.

    Student and fake score keep float32 weights and compute in the recipe's dtype. The teacher's weights are cast, which
    halves them: it has to be the objective's own copy. Raises ValueError for an option that a network does not have.
    """
    networks = objective.networks()
    learning = [student, *networks.learning]
    if config.dtype != "float32":
        dtype = getattr(torch, config.dtype)
        for denoiser in learning:
            denoiser.compute = dtype
        for denoiser in networks.frozen:
            denoiser.network.to(dtype)
    denoisers = [*learning, *networks.frozen]
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


def place_networks(
    student: NetworkDenoiser, objective: Trainable, config: StudentConfig, device: torch.device
) -> Trainable:
    """Prepare the networks, shard them where ``config`` says so, and move them to ``device``, the student's ready to
    learn. Return the objective there; with ``shard`` its teacher is sharded in place."""
    prepare_networks(student, objective, config, device)
    if config.shard:  # before anything moves: a network need not fit the device
        shard(networks_of_training_step(student, objective), device)
    student.to(device).network.train().requires_grad_(True)
    return objective.to(device)


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
