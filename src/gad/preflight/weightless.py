"""Networks whose weights have shapes and take no memory, and which compute as on the CPU."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:  # at run time it is imported where it is needed: it takes a while
    from torch._subclasses.fake_tensor import FakeTensorMode


def without_weights(networks: Iterable[nn.Module]) -> None:
    """Give the networks weights and buffers that have a shape, a dtype and no memory, in place; what they share stays
    shared.

    Unlike tensors on the device "meta" they pass for tensors of the CPU: there is autocast, and attention does not hold
    its N² scores.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode  # here, since it takes a while

    mode = FakeTensorMode(allow_non_fake_inputs=True)  # of numbers of the CPU: batches, times
    known: dict[int, tuple[Tensor, Tensor]] = {}  # with the old one: its id must not become another's
    modules = [module for network in networks for module in network.modules()]
    tables: list[dict[str, Any]] = [table for module in modules for table in (module._parameters, module._buffers)]
    for table in tables:
        for name, tensor in table.items():
            if tensor is not None:
                known.setdefault(id(tensor), (tensor, _emptied(tensor, mode)))
                table[name] = known[id(tensor)][1]


def _emptied(tensor: Tensor, mode: "FakeTensorMode") -> Tensor:
    with mode:
        empty = torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype)
        return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
