"""The devices of this machine: where tensors go, how many cores there are, how much memory was held."""

import os
import resource
import warnings

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


def peak_memory_bytes() -> float:
    """The most memory that this process has held: of the GPU where there is one, else of the machine."""
    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated())
    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def forget_peak_memory() -> None:
    """Have :func:`peak_memory_bytes` of a GPU begin anew; that of a process is of its whole life."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
