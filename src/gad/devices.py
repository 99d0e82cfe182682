"""Tensors on their way to a device."""

import torch
from torch import Tensor


def sent(values: Tensor, device: torch.device | str) -> Tensor:
    """``values`` on the device. To a GPU they go from page-locked memory, so the host need not wait for it."""
    if torch.device(device).type == "cuda" and values.device.type == "cpu":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)
