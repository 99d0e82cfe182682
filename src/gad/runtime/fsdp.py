"""FSDP: weights, gradients and optimiser states sharded over the processes, for networks too large for one device.

PyTorch's ``fully_shard`` does it; here is what a training loop needs around it. Checkpoints hold whole tensors, so a
run may go on with another number of processes. FSDP's modules take a second to import: ``shard`` does it, and before
that nothing is sharded.
"""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeGuard

import torch
from torch import Tensor, nn

from gad.runtime.distributed import rank_and_world_size
from gad.runtime.moving_average import MovingAverage

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor


def is_sharded(network: nn.Module) -> "TypeGuard[FSDPModule]":
    """Whether :func:`shard` has sharded the network."""
    fsdp = sys.modules.get("torch.distributed.fsdp")
    return fsdp is not None and isinstance(network, fsdp.FSDPModule)


def _is_part(tensor: Tensor) -> "TypeGuard[DTensor]":
    """Whether a process holds a part of this tensor only."""
    tensors = sys.modules.get("torch.distributed.tensor")
    return tensors is not None and isinstance(tensor, tensors.DTensor)


def shard(networks: Iterable[nn.Module], device: torch.device) -> None:
    """Part the weights of networks over the processes, in place. A block is gathered while it computes.

    Raises ValueError for a single process.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    _, processes = rank_and_world_size()
    if processes == 1:
        raise ValueError("shard needs several processes: accelerate launch --num_processes N pipelines/parallel.py ...")
    mesh = init_device_mesh(device.type, (processes,))
    torch.set_autocast_cache_enabled(False)  # it would keep every weight gathered, in half precision
    for network in networks:
        lists = [child for child in network.children() if isinstance(child, nn.ModuleList)]
        for block in (block for blocks in lists for block in blocks):
            fully_shard(block, mesh=mesh)
        fully_shard(network, mesh=mesh)


def reshard(network: nn.Module) -> None:
    """Let a sharded network's own weights go, which stay gathered after a call without a backward pass."""
    if is_sharded(network):
        network.reshard()


def full_tensor(tensor: Tensor) -> Tensor:
    """The whole tensor, in every process; one that is not sharded is itself."""
    return tensor.full_tensor() if _is_part(tensor) else tensor


def gather_sharded_weights(network: nn.Module, plain: nn.Module) -> nn.Module:
    """``plain``, an unparted copy of a network on the CPU, with that network's weights; in every process."""
    plain.load_state_dict({name: full_tensor(tensor).cpu() for name, tensor in network.state_dict().items()})
    return plain


def _kept(tensor: Tensor) -> Tensor | None:
    """The whole tensor on the CPU of the first process, which writes checkpoints; all have to ask for it."""
    whole = full_tensor(tensor)
    return whole.cpu() if rank_and_world_size()[0] == 0 else None


def _parted(tensor: Tensor, like: Tensor) -> Tensor:
    """This process's part of a whole tensor that every process holds, laid out as ``like``."""
    if not _is_part(like) or tensor.shape != like.shape:  # a number of steps is no weight
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


class WholeNetwork:
    """A sharded network as a checkpoint sees it."""

    def __init__(self, network: nn.Module):
        self.network = network

    def state_dict(self) -> dict:
        return {name: _kept(tensor) for name, tensor in self.network.state_dict().items()}

    def load_state_dict(self, state: dict) -> None:
        own = self.network.state_dict()
        self.network.load_state_dict({name: _parted(tensor, own[name]) for name, tensor in state.items()})


class WholeOptimizer:
    """The optimiser of a sharded network as a checkpoint sees it."""

    def __init__(self, optimizer: torch.optim.Optimizer):
        self.optimizer = optimizer

    def state_dict(self) -> dict:
        state = self.optimizer.state_dict()
        moments = {i: {name: _kept(value) for name, value in found.items()} for i, found in state["state"].items()}
        return state | {"state": moments}

    def load_state_dict(self, state: dict) -> None:
        weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        moments = {
            i: {name: _parted(value, weights[i]) for name, value in found.items()}
            for i, found in state["state"].items()
        }
        self.optimizer.load_state_dict(state | {"state": moments})


class WholeAverage:
    """The moving average of sharded weights as a checkpoint sees it."""

    def __init__(self, average: MovingAverage):
        self.average = average

    def state_dict(self) -> dict:
        state = self.average.state_dict()
        return state | {"shadow_params": [_kept(tensor) for tensor in state["shadow_params"]]}

    def load_state_dict(self, state: dict) -> None:
        parted = [_parted(*both) for both in zip(state["shadow_params"], self.average.shadow_params, strict=True)]
        self.average.load_state_dict(state | {"shadow_params": parted})


WHOLE = {nn.Module: WholeNetwork, torch.optim.Optimizer: WholeOptimizer, MovingAverage: WholeAverage}


def unsharded_state(part):
    """What a checkpoint keeps of a part of a training run: the whole of one that is sharded, else the part itself."""
    return next((view(part) for kind, view in WHOLE.items() if isinstance(part, kind)), part)
