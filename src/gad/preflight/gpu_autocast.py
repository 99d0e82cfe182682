"""Autocast as a GPU has it, where networks compute on the CPU."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

HALF = (torch.bfloat16, torch.float16)
# of PyTorch's list for CUDA (ATen/autocast_mode.h) what networks call and what the CPU's has not
WIDE = (
    "layer_norm", "group_norm", "rms_norm", "softmax.int", "log_softmax.int", "softplus", "cosine_similarity",
    "exp", "log", "reciprocal", "rsqrt", "pow.Tensor_Scalar", "pow.Tensor_Tensor",
    "upsample_nearest2d", "_upsample_nearest_exact2d", "upsample_bilinear2d", "upsample_bicubic2d",
)  # fmt: skip


@contextmanager
def gpu_autocast() -> Iterator[None]:
    """Has ``torch.autocast("cpu")`` cast as on a GPU: norms, softmax, powers and resizing are in float32 there.

    Matrix products, convolutions and attention are in half precision on both, with one copy of each weight for as long
    as the network is being called. A backward pass that computes again does it alike.
    """
    library = torch.library.Library("aten", "IMPL")
    try:
        for name in WIDE:
            library.impl(name, _in_float32(name), "AutocastCPU")
        yield
    finally:
        library._destroy()


def _in_float32(name: str) -> Callable:
    packet, _, overload = name.partition(".")
    operator = getattr(getattr(torch.ops.aten, packet), overload or "default")

    def computed(*args, **kwargs):
        with torch.autocast("cpu", enabled=False):
            return operator(*tree_map_only(Tensor, lambda x: x.float() if x.dtype in HALF else x, args), **kwargs)

    return computed
