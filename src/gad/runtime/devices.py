"""Tensors on their way to a device."""

import os

import torch
from torch import Tensor


def send_to_device(values: Tensor, device: torch.device | str) -> Tensor:
    """``values`` on the device. To a GPU they go from page-locked memory, so the host need not wait for it."""
    if torch.device(device).type == "cuda" and values.device.type == "cpu":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def own_device(device: str) -> torch.device:
    """The device of this process for a recipe's ``device``: GPUs are distributed to a machine's processes in turn."""
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    name = next(kind for kind in found if found[kind]) if device == "auto" else device
    if not found[name]:
        raise ValueError(f"device {device!r} is not available here; use 'cpu' or 'auto'")
    if name != "cuda":
        return torch.device(name)
    return torch.device(name, int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
