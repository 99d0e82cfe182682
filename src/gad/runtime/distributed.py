"""Several processes that train one student, or distribute the noise pairs: what each does, and how they agree.

Processes are started by ``accelerate launch`` or ``torchrun``. With one process nothing here does anything.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.distributed import all_reduce

from gad.runtime.devices import own_device
from gad.runtime.folder_lock import folder_is_locked_to, lock_folder
from gad.runtime.launchers import check_launcher, ignore_launch_settings

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from accelerate import Accelerator

POLL = 1.0  # seconds

torch.backends.cudnn.allow_tf32 = False  # a float32 convolution shall be one: small differences are taken of them


def make_accelerator(device: str) -> "Accelerator":
    """An accelerator on ``device``; "auto" takes the best there is.

    Raises ValueError for a device that is not there, or another than this process has trained on before, and as
    :func:`gad.runtime.launchers.check_launcher`. What a launcher asks for besides is ignored, with a line each.
    """
    from accelerate import Accelerator  # here, since it takes seconds

    wanted = own_device(device).type
    check_launcher()
    for line in ignore_launch_settings():
        print(line, file=sys.stderr)
    accelerator = Accelerator(cpu=wanted == "cpu", mixed_precision="no")
    if accelerator.device.type != wanted:  # accelerate keeps a process's first device for good and says nothing
        found = accelerator.device.type
        raise ValueError(f"device {wanted!r} is asked for in a process that has trained on {found!r}: start a new one")
    return accelerator


def rank_and_world_size() -> tuple[int, int]:
    """This process's number and how many there are, as the launcher says.

    Raises ValueError, in one line, for numbers that no launcher gives.
    """
    told = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    if not all(text.isdecimal() for text in told) or int(told[0]) >= int(told[1]):
        raise ValueError(f"RANK={told[0]} of WORLD_SIZE={told[1]} is no place in a launch; unset both, or launch again")
    return int(told[0]), int(told[1])


def distributed_processes_per_node() -> int:
    """How many processes this machine has of a launch, as the launcher says; 1 without one."""
    told = (os.environ.get(name, "") for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    return next((int(count) for count in told if count.isdecimal() and int(count)), 1)


def distributed_wait_until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds. Processes agree over files, so that one may be done hours before another."""
    while not condition():
        time.sleep(POLL)


def distributed_folder_lock(folder: Path, cache_key: str) -> None:
    """The first process has ``folder`` hold work of ``cache_key`` only (:func:`gad.runtime.folder_lock.lock_folder`);
    the others
    wait.
    """
    if rank_and_world_size()[0] == 0:
        lock_folder(folder, cache_key)
    distributed_wait_until(lambda: folder_is_locked_to(folder, cache_key))


def average_gradients(parameters: Iterable[nn.Parameter], accelerator: "Accelerator") -> None:
    """Make each gradient the mean over the processes'. A network may be called any number of times before."""
    if accelerator.num_processes == 1:
        return
    from torch.distributed.tensor import DTensor  # here, since it takes seconds

    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    gradients = [gradient for gradient in gradients if not isinstance(gradient, DTensor)]  # FSDP has averaged those
    works = [all_reduce(gradient, async_op=True) for gradient in gradients]
    for work, gradient in zip(works, gradients, strict=True):
        work.wait()
        gradient /= accelerator.num_processes


def average_numbers(numbers: dict[str, Tensor], accelerator: "Accelerator") -> dict[str, Tensor]:
    """Each number's mean over the processes, which all have the same names, in whatever order."""
    if accelerator.num_processes == 1 or not numbers:
        return numbers
    names = sorted(numbers)
    stacked = accelerator.reduce(torch.stack([numbers[name] for name in names]), reduction="mean")
    means = dict(zip(names, stacked.unbind(), strict=True))
    return {name: means[name] for name in numbers}
