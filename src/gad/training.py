"""The training loop of a student: an accelerate loop written as a generator, resumable bit for bit."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers.optimization import get_cosine_schedule_with_warmup
from diffusers.training_utils import EMAModel

from gad.artifacts import read_checkpoint, write_checkpoint
from gad.config import StudentConfig
from gad.models.conditioning import Conditioning
from gad.models.denoiser import NetworkDenoiser
from gad.noise_pairs import NoisePairs
from gad.objectives.batch import Batch, draw_batch, step_generator
from gad.objectives.build import Objective
from gad.probe import Probe, gradient_norms

LAST = "checkpoint.pt"


@dataclass(frozen=True)
class TrainState:
    """What a step tells: batch means of the loss terms, the learning rate, gradient norms, and what the probe says."""

    step: int
    terms: dict[str, float]
    watched: dict[str, float]  # gad.probe: norms of each term's own gradient; response on fixed pairs after the step
    learning_rate: float
    gradient_norm: float


class NonFiniteLoss(FloatingPointError):
    """A loss term became infinite or NaN. The last checkpoint is kept."""


def make_accelerator(device: str) -> Accelerator:
    """An accelerator on ``device``; "auto" takes what accelerate finds. ValueError for a device that is not there."""
    if device == "cuda" and not torch.cuda.is_available() or device == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"device {device!r} is not available here; use 'cpu' or 'auto'")
    return Accelerator(cpu=device == "cpu")


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
    objective: Objective,
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
    ``prompts`` are the encoded captions of all sample ids.
    """
    accelerator = make_accelerator(config.device)
    network = student.network.train().requires_grad_(True)
    parameters = list(network.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=config.lr, betas=(0.9, 0.999), weight_decay=0.0)
    schedule = get_cosine_schedule_with_warmup(optimizer, config.warmup_steps, config.num_steps)
    average = EMAModel(parameters, decay=config.ema_decay)
    objective = objective.to(accelerator.device)
    auxiliary = _Auxiliary(objective, config) if objective.auxiliary is not None else None
    parts = {"network": network, "optimizer": optimizer, "schedule": schedule, "average": average}
    if auxiliary:
        parts |= {"auxiliary": auxiliary.network, "auxiliary_optimizer": auxiliary.optimizer}
    first = _resume(folder / LAST, parts)
    student.network, optimizer = accelerator.prepare(network, optimizer)
    average.to(accelerator.device)
    probe = Probe(pairs, prompts, student.schedule, accelerator.device)
    for step in range(first, config.num_steps):
        partners = partners_at(step / config.num_steps, config.h_schedule, pairs.config.directions_per_noise)
        options = {"variant": variant, "batch_size": config.batch_size, "key": (seed, step), "partners": partners}
        batch = draw_batch(pairs, prompts, student.schedule, **options).to(accelerator.device)
        batches = batch.split(config.accumulate)
        extra = {"auxiliary": auxiliary.step(student, batches, (seed, step))} if auxiliary else {}
        done = step + 1
        telling = done % config.log_every == 0 or done == config.num_steps
        means, watched = {}, {}
        for part in batches:
            terms = objective.terms(student, part, step_generator(seed, step, 1)) | extra
            for name, term in terms.items():
                means[name] = means.get(name, 0.0) + term.mean().item() / len(batches)
                if not math.isfinite(means[name]):
                    value = term.mean().item()
                    raise NonFiniteLoss(f"loss term {name!r} is {value} at step {step} ({variant}, seed {seed})")
            watched = watched or (gradient_norms(terms, parameters) if telling else {})  # of the first part
            accelerator.backward(terms["total"] / len(batches))
        norm = float(accelerator.clip_grad_norm_(parameters, config.max_grad_norm))
        if not math.isfinite(norm):  # before the step, so that no checkpoint is spoilt
            raise NonFiniteLoss(f"the gradient's norm is {norm} at step {step} ({variant}, seed {seed})")
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        average.step(parameters)
        if done % config.checkpoint_every == 0 and done < config.num_steps:
            states = {name: part.state_dict() for name, part in parts.items()}
            write_checkpoint(folder / LAST, states | {"step": done})
        if telling:
            watched |= probe.measure(student)
            yield TrainState(done, means, watched, schedule.get_last_lr()[0], norm)
    student.network = accelerator.unwrap_model(student.network)
    average.copy_to(parameters)
    student.network.eval().requires_grad_(False).to("cpu")


class _Auxiliary:
    """The network that an objective trains beside the student. Its gradients and the student's never mix."""

    def __init__(self, objective: Objective, config: StudentConfig):
        self.objective, self.config = objective, config
        self.network = objective.auxiliary.train()
        lr = config.auxiliary_lr_ratio * config.lr
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=lr, betas=(0.0, 0.95), weight_decay=0.0)

    def step(self, student: NetworkDenoiser, batches: list[Batch], key: tuple[int, int]) -> torch.Tensor:
        """Update it and return its last loss ``[B]``. Outside this method it is frozen, so nothing is left in it."""
        self.network.requires_grad_(True)
        for update in range(self.config.auxiliary_updates):
            losses = []
            for part in batches:
                losses.append(self.objective.auxiliary_loss(student, part, step_generator(*key, 2 + update)))
                (losses[-1].mean() / len(batches)).backward()
                losses[-1] = losses[-1].detach()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.max_grad_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
        self.network.requires_grad_(False)
        return torch.cat(losses)


def _resume(path: Path, parts: dict) -> int:
    """Load a checkpoint if there is one; return the number of steps that are done."""
    state = read_checkpoint(path)
    if state is None:
        return 0
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return state["step"]
