"""How many seeds are trained side by side, and with how many threads each.

The number of threads may decide the last bits of a student, so it depends on nothing that the number of workers depends
on: a seed gets the same threads beside others as alone.
"""

import os
from collections.abc import Iterator

import psutil
import torch

from gad.config import StudentConfig
from gad.diffusion.denoiser import NetworkDenoiser
from gad.models.model import Model
from gad.runtime.devices import available_cores, own_device

START = 10.0  # seconds until a process has imported everything
STEP = {"2-D": 0.005, "images": 0.5}  # seconds of a small network's training step on one core, roughly
COPIES = 12  # of a teacher's weights that a training may hold: networks, gradients, optimizers, averages, a checkpoint
SMALL = 2e6  # weights of a network that a second thread speeds up by a sixth or less
IMPORTS = 1e9  # bytes of a process before it does anything


def threads_per_seed(teacher: Model) -> int:
    """One for a small network, which further ones hardly speed up; else what this process has (OMP_NUM_THREADS)."""
    return 1 if sum(weight.numel() for weight in _weights(teacher)) < SMALL else torch.get_num_threads()


def workers_for(teacher: Model, config: StudentConfig, seeds: int) -> int:
    """Processes to train that many ``seeds`` in; 1 is this process alone.

    ``config.workers`` says how many, or "auto": on a CPU as many as there are cores for and memory, unless the work is
    done sooner than they are started; on a GPU one, which one training keeps busy. Processes that a launcher started
    share each batch instead.
    """
    if "WORLD_SIZE" in os.environ or config.shard or seeds < 2:
        return 1
    if config.workers != "auto":
        return min(config.workers, seeds)
    if own_device(config.device).type != "cpu":
        return 1
    workers = min(seeds, available_cores() // threads_per_seed(teacher), _room(teacher))
    seconds = seeds * (config.num_steps + config.start_steps) * STEP["2-D" if teacher.pipeline is None else "images"]
    return workers if workers > 1 and seconds * (1 - 1 / workers) > START else 1


def _room(teacher: Model) -> int:
    """Trainings that the free memory holds."""
    weights = sum(weight.numel() * weight.element_size() for weight in _weights(teacher))
    return int(psutil.virtual_memory().available // (COPIES * weights + IMPORTS))


def _weights(teacher: Model) -> Iterator[torch.nn.Parameter]:
    """Those of the teacher's network; none where the teacher is exact."""
    yield from teacher.denoiser.parameters() if isinstance(teacher.denoiser, NetworkDenoiser) else ()
