"""The training loop of a student: an accelerate loop written as a generator, resumable bit for bit."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers.optimization import get_cosine_schedule_with_warmup
from diffusers.training_utils import EMAModel

from gad.config import StudentConfig
from gad.data.noise_pairs import NoisePairs
from gad.diffusion.conditioning import Conditioning
from gad.diffusion.denoiser import NetworkDenoiser
from gad.distillation.batch import Batch, draw_batch, step_generator
from gad.distillation.monitor import Monitor, gradient_norms
from gad.distillation.nan_guard import NanGuard
from gad.distillation.precision import (
    Trainable,
    WithAuxiliary,
    make_optimizer,
    make_scaler,
    networks_of,
    prepare_networks,
)
from gad.runtime.checkpoint import LAST, _resume, _save
from gad.runtime.distributed import average_gradients, average_numbers, make_accelerator
from gad.runtime.fsdp import as_saved, full, gather, reshard, shard


@dataclass(frozen=True)
class TrainState:
    """What a step reports: batch means of the loss terms, learning rate, gradient norms, and the monitor's values."""

    step: int
    terms: dict[str, float]
    monitored: dict[str, float]  # by gad.distillation.monitor: each term's gradient norm; response on fixed pairs
    learning_rate: float
    gradient_norm: float


def partners_at(progress: float, schedule: str, copies: int) -> range:
    """Which of a noise's ``copies`` partners may be drawn at that share of the training, in [0, 1).

    Partners' steps h fall with their number: "decreasing" goes through them in order, "increasing" backwards.
    """
    if schedule == "any":
        return range(copies)
    number = int(progress * copies)
    first = number if schedule == "decreasing" else copies - 1 - number
    return range(first, first + 1)


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

    Checkpoints in ``folder`` hold networks, average, optimisers, learning rate and data position. Started again after a
    kill, the run continues from the last one and ends, on a CPU, with the same bits as an uninterrupted one.
    ``prompts`` are the encoded captions of all sample ids. Several processes share a batch: each takes its parts of
    the whole one, gradients and losses are averaged, and all end with the same student; the first one writes. With
    ``shard`` the objective's teacher has to be its own copy: it is parted in place.
    """
    accelerator = make_accelerator(config.device)
    num_parts = config.parts_of(accelerator.num_processes)
    plain = copy.deepcopy(student.network) if config.shard else None
    prepare_networks(student, objective, config, accelerator.device)
    if config.shard:  # before anything moves: a network need not fit the device
        shard(networks_of(student, objective), accelerator.device)
    at_home = student.schedule.to("cpu")  # where batches are drawn
    network = student.to(accelerator.device).network.train().requires_grad_(True)
    objective = objective.to(accelerator.device)
    parameters = list(network.parameters())
    optimizer = make_optimizer(parameters, config, lr=config.lr, betas=(0.9, 0.999))
    schedule = get_cosine_schedule_with_warmup(optimizer, config.warmup_steps, config.num_steps)
    average = EMAModel(parameters, decay=config.ema_decay)
    scaler = make_scaler(config, accelerator.device)
    auxiliary = _Auxiliary(objective, config, accelerator) if objective.auxiliary is not None else None
    parts = {"network": network, "optimizer": optimizer, "schedule": schedule, "average": average}
    if auxiliary:
        parts |= {"auxiliary": auxiliary.network, "auxiliary_optimizer": auxiliary.optimizer}
    if scaler.is_enabled():
        parts["scaler"] = scaler
        parts |= {"auxiliary_scaler": auxiliary.scaler} if auxiliary else {}
    if config.shard:
        parts = {name: as_saved(part) for name, part in parts.items()}
    first = _resume(folder / LAST, parts)
    average.to(accelerator.device)
    nan_guard = NanGuard(variant, seed, accelerator)
    monitor = Monitor(pairs, prompts, at_home, accelerator.device)
    for step in range(first, config.num_steps):
        partners = partners_at(step / config.num_steps, config.h_schedule, pairs.config.directions_per_noise)
        batch = draw_batch(
            pairs,
            prompts,
            at_home,
            variant=variant,
            batch_size=config.batch_size,
            key=(seed, step),
            partners=partners,
            misaligned=config.misaligned,
        )
        mine = batch.split(num_parts)[accelerator.process_index :: accelerator.num_processes]
        batches = [part.to(accelerator.device) for part in mine]
        extra = {"auxiliary": auxiliary.step(student, batches, (seed, step))} if auxiliary else {}
        done = step + 1
        log_now = done % config.log_every == 0 or done == config.num_steps
        saving = done % config.checkpoint_every == 0 and done < config.num_steps
        means: dict[str, torch.Tensor] = {}
        monitored: dict[str, float] = {}
        for part in batches:
            terms = objective.terms(student, part, step_generator(seed, step, 1)) | extra
            for name, term in terms.items():
                means[name] = means.get(name, 0.0) + nan_guard.wide(term.detach().mean()) / len(batches)
            nan_guard.check_terms(means, step)
            if log_now and not config.shard:  # a parted weight has no gradient of its own to ask for
                monitored = monitored or gradient_norms(terms, parameters, scaler.get_scale())  # of the first part
            scaler.scale(terms["total"] / len(batches)).backward()
        average_gradients(parameters, accelerator)
        scaler.unscale_(optimizer)
        norm = full(torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm))
        if not scaler.is_enabled():  # a scaler leaves out the steps whose gradients overflow
            nan_guard.check_norm(norm, step)  # before the step, so that no checkpoint is spoilt
        scaler.step(optimizer)
        scaler.update()
        schedule.step()
        optimizer.zero_grad()
        average.step(parameters)
        if log_now or saving:
            nan_guard.raise_late()
        if saving and (accelerator.is_main_process or config.shard):  # what is parted is gathered by all
            _save(folder / LAST, parts, done, writes=accelerator.is_main_process)
        if log_now:
            monitored |= monitor.measure(student)
            numbers = {name: mean.item() for name, mean in average_numbers(means, accelerator).items()}
            yield TrainState(done, numbers, monitored, float(schedule.get_last_lr()[0]), norm.item())
    average.copy_to(parameters)
    student.compute = None
    if plain is not None:
        student.network = gather(network, plain)
    student.to("cpu").network.eval().requires_grad_(False)


class _Auxiliary:
    """The network that an objective trains beside the student. Its gradients and the student's never mix."""

    def __init__(self, objective: Trainable, config: StudentConfig, accelerator: Accelerator):
        assert isinstance(objective, WithAuxiliary)
        self.objective, self.config, self.accelerator = objective, config, accelerator
        self.network = objective.auxiliary.train()
        lr = config.auxiliary_lr_ratio * config.lr
        self.optimizer = make_optimizer(list(self.network.parameters()), config, lr=lr, betas=(0.0, 0.95))
        self.scaler = make_scaler(config, accelerator.device)

    def step(self, student: NetworkDenoiser, batches: list[Batch], key: tuple[int, int]) -> torch.Tensor:
        """Update it and return its last loss ``[B]``. Outside this method it is frozen, so nothing is left in it."""
        reshard(self.network)  # or only the gathered weights would hear of it
        self.network.requires_grad_(True)
        for update in range(self.config.auxiliary_updates):
            losses = []
            for part in batches:
                losses.append(self.objective.auxiliary_loss(student, part, step_generator(*key, 2 + update)))
                self.scaler.scale(losses[-1].mean() / len(batches)).backward()
                losses[-1] = losses[-1].detach()
            average_gradients(self.network.parameters(), self.accelerator)
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.max_grad_norm)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad()
        reshard(self.network)
        self.network.requires_grad_(False)
        return torch.cat(losses)
