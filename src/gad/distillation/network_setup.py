"""How networks compute while a student trains: dtype, checkpointing, compilation."""

import torch
from torch import nn

from gad.config import StudentConfig
from gad.diffusion.denoiser import NetworkDenoiser
from gad.distillation.learning_weights import cast_adapter_base, let_weights_learn
from gad.distillation.objective import networks_of_objective
from gad.distillation.trainable import Trainable
from gad.runtime.devices import can_compile
from gad.runtime.fsdp import shard


def make_scaler(config: StudentConfig, device: torch.device) -> torch.amp.GradScaler:
    """A scaler of the loss for float16, whose small gradients would vanish; for other dtypes one that does nothing."""
    return torch.amp.GradScaler(device.type, enabled=config.dtype == "float16")


def prepare_network_precision(
    student: NetworkDenoiser, objective: Trainable, config: StudentConfig, device: torch.device
) -> None:
    """Make the networks compute as ``config`` says on ``device``; with its defaults nothing changes.

    Student and fake score keep float32 weights and compute in the recipe's dtype. The teacher's weights are cast, which
    halves them: it has to be the objective's own copy. So is the base under an adapter, which is the teacher's. Raises
    ValueError for an option that a network does not have.
    """
    networks = objective.networks()
    learning = [student, *networks.learning]
    if config.dtype != "float32":
        dtype = getattr(torch, config.dtype)
        for denoiser in learning:
            denoiser.compute = dtype
            cast_adapter_base(denoiser.network, dtype)
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


def set_up_networks(
    student: NetworkDenoiser, objective: Trainable, config: StudentConfig, device: torch.device
) -> Trainable:
    """Prepare the networks, shard them where ``config`` says so, and move them to ``device``, the student's ready to
    learn. Return the objective there; with ``shard`` its teacher is sharded in place."""
    prepare_network_precision(student, objective, config, device)
    if config.shard:  # before anything moves: a network need not fit the device
        shard(networks_of_objective(student, objective), device)
    let_weights_learn(student.to(device).network.train())
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
