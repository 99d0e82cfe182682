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

import torch
from torch import nn

from gad.config import StudentConfig
from gad.config.variants import VARIANTS
from gad.data.noise_pairs import NoisePairs
from gad.diffusion.conditioning import Conditioning
from gad.diffusion.denoiser import NetworkDenoiser
from gad.diffusion.retimed_schedule import process_schedule
from gad.distillation.average_validation import AverageValidation, Validate
from gad.distillation.batch_source import BatchSource
from gad.distillation.losses import matching_loss
from gad.distillation.monitor import Monitor, probe_part
from gad.distillation.nan_guard import NanGuard
from gad.distillation.network_setup import set_up_networks
from gad.distillation.targets import ComparedOutput
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
    validate: Validate | None = None,
) -> Iterator[TrainState]:
    """Train ``student`` in place and yield a state every ``log_every`` steps; it ends as its moving average.

    Checkpoints are in ``folder``; ``prompts`` are the encoded captions of all ids. With ``shard`` the objective's
    teacher has to be its own copy: it is sharded in place. ``validate`` is called with the moving average after the
    steps of ``config.validation``. Raises NonFiniteLoss.
    """
    accelerator = make_accelerator(config.device)
    plain = copy.deepcopy(student.network) if config.shard else None
    validation = AverageValidation(student, config, validate)
    schedule = process_schedule(student.schedule).to("cpu")  # where batches are drawn
    objective = set_up_networks(student, objective, config, accelerator.device)
    state = TrainingState(student.network, objective, config, accelerator)
    guard = NanGuard(variant, seed, accelerator)
    compared = ComparedOutput(config.target, pairs.config.student_steps)
    monitor = Monitor(pairs, prompts, schedule, accelerator.device, compared, probe_part(config))
    source = BatchSource(pairs, prompts, schedule, config, variant, seed, accelerator)
    update = Updates(student, objective, state, guard, seed)
    begin = state.resume(folder / LAST)
    if begin == 0:
        validation(0, state)
        update.warm_up(source, config.auxiliary_warmup)
    for step in range(begin, config.num_steps):
        batches, (logging, saving) = source.at(step), _due(step + 1, config)
        shared = update.rollouts(batches, step)
        logged = update.auxiliary(batches, step, config.auxiliary_updates, shared)
        # a sharded weight has no gradient of its own
        means, norms = update.gradients(batches, step, logged, shared, norms=logging and not config.shard)
        norm = update.step(step)
        if logging or saving or validation.due(step + 1):
            guard.raise_late()
        validation(step + 1, state)  # before the checkpoint: what one has passed is written
        if saving:
            state.save(folder / LAST, step + 1)
        if logging:
            monitored = norms | monitor.measure(student)
            terms = {name: mean.item() for name, mean in average_numbers(means, accelerator).items()}
            yield TrainState(step + 1, terms, monitored, float(state.schedule.get_last_lr()[0]), norm.item())
    _finish(student, state, plain)


def state_at_initialisation(
    student: NetworkDenoiser,
    objective: Trainable,
    pairs: NoisePairs,
    prompts: Conditioning | None,
    config: StudentConfig,
    validate: Validate | None = None,
) -> TrainState:
    """What stands for the training of a student that is not trained: its response on the monitor's pairs at step 0.

    ``validate`` is called with it, too.
    """
    compared = ComparedOutput(config.target, pairs.config.student_steps)
    student.network.eval().requires_grad_(False)
    if validate is not None:
        with torch.random.fork_rng():
            validate(0, student)
    schedule = process_schedule(student.schedule)
    monitor = Monitor(pairs, prompts, schedule, compared=compared, part=probe_part(config))
    gap = matching_loss(compared(student, monitor.batch), monitor.batch.target, kind=config.loss).mean().item()
    return TrainState(0, {"matching": gap, "total": gap}, monitor.measure(student), 0.0, 0.0)


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
    if VARIANTS[variant].untrained:
        return 0
    return round(config.num_steps * (config.equal_time_factor if VARIANTS[variant].longer else 1))
