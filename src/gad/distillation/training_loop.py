"""The training loop of a student: an accelerate loop written as a generator, resumable bit for bit.

Checkpoints hold networks, average, optimisers, learning rate and data position. Started again after a kill, a run
continues from the last one and ends, on a CPU, with the same bits as an uninterrupted one. Several processes share a
batch: each takes its parts of the whole one, gradients and losses are averaged, and all end with the same student; the
first one writes.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from gad.config import StudentConfig
from gad.config.variants import VARIANTS
from gad.data.noise_pairs import NoisePairs
from gad.diffusion.conditioning import Conditioning
from gad.diffusion.denoiser import NetworkDenoiser
from gad.distillation.batch_source import BatchSource
from gad.distillation.monitor import Monitor
from gad.distillation.nan_guard import NanGuard
from gad.distillation.precision import place_networks
from gad.distillation.trainable import Trainable
from gad.distillation.training_state import TrainingState
from gad.distillation.updates import Updates
from gad.runtime.checkpoint import LAST
from gad.runtime.distributed import average_numbers, make_accelerator
from gad.runtime.fsdp import gather_sharded_weights


@dataclass(frozen=True)
class TrainState:
    """What a step reports: batch means of the loss terms, learning rate, gradient norms, and the monitor's values."""

    step: int
    terms: dict[str, float]
    monitored: dict[str, float]  # by gad.distillation.monitor: each term's gradient norm; response on fixed pairs
    learning_rate: float
    gradient_norm: float


def train(
    student: NetworkDenoiser,
    objective: Trainable,
    pairs: NoisePairs,
    prompts: Conditioning | None,
    config: StudentConfig,
    *,
    variant: str,
    seed: int,
    folder: Path,
) -> Iterator[TrainState]:
    """Train ``student`` in place and yield a state every ``log_every`` steps; it ends as its moving average.

    Checkpoints are in ``folder``; ``prompts`` are the encoded captions of all ids. With ``shard`` the objective's
    teacher has to be its own copy: it is sharded in place. Raises NonFiniteLoss.
    """
    accelerator = make_accelerator(config.device)
    plain = copy.deepcopy(student.network) if config.shard else None
    schedule = student.schedule.to("cpu")  # where batches are drawn
    objective = place_networks(student, objective, config, accelerator.device)
    state = TrainingState(student.network, objective, config, accelerator)
    guard, monitor = NanGuard(variant, seed, accelerator), Monitor(pairs, prompts, schedule, accelerator.device)
    source = BatchSource(pairs, prompts, schedule, config, variant, seed, accelerator)
    update = Updates(student, objective, state, guard, seed)
    for step in range(state.resume(folder / LAST), config.num_steps):
        batches, (logging, saving) = source.at(step), _due(step + 1, config)
        logged = update.auxiliary(batches, step, config.auxiliary_updates)
        # a sharded weight has no gradient of its own
        means, norms = update.gradients(batches, step, logged, norms=logging and not config.shard)
        norm = update.step(step)
        if logging or saving:
            guard.raise_late()
        if saving:
            state.save(folder / LAST, step + 1)
        if logging:
            monitored = norms | monitor.measure(student)
            terms = {name: mean.item() for name, mean in average_numbers(means, accelerator).items()}
            yield TrainState(step + 1, terms, monitored, float(state.schedule.get_last_lr()[0]), norm.item())
    _finish(student, state, plain)


def _due(done: int, config: StudentConfig) -> tuple[bool, bool]:
    """Whether to log and whether to save after ``done`` steps; the last one is logged and not saved."""
    last = done == config.num_steps
    return done % config.log_every == 0 or last, done % config.checkpoint_every == 0 and not last


def _finish(student: NetworkDenoiser, state: TrainingState, plain: nn.Module | None) -> None:
    """Leave the student at its moving average, frozen on the CPU; one that was sharded as ``plain``."""
    state.average.copy_to(state.student.parameters)
    student.compute = None
    if plain is not None:
        student.network = gather_sharded_weights(student.network, plain)
    student.to("cpu").network.eval().requires_grad_(False)


def num_training_steps(config: StudentConfig, variant: str) -> int:
    """Training steps of a variant: the recipe's, or ``equal_time_factor`` times as many for a longer baseline."""
    return round(config.num_steps * (config.equal_time_factor if VARIANTS[variant].longer else 1))
