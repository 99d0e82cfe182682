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
from gad.objectives import draw_batch, matching_step

LAST = "checkpoint.pt"


@dataclass(frozen=True)
class TrainState:
    """What a step tells: its number and the batch means of the loss terms, the gradient norm and learning rate."""

    step: int
    terms: dict[str, float]
    learning_rate: float
    gradient_norm: float


class NonFiniteLoss(FloatingPointError):
    """A loss term became infinite or NaN. The last checkpoint is kept."""


def make_accelerator(device: str) -> Accelerator:
    """An accelerator on ``device``; "auto" takes what accelerate finds. ValueError for a device that is not there."""
    if device == "cuda" and not torch.cuda.is_available() or device == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"device {device!r} is not available here; use 'cpu' or 'auto'")
    return Accelerator(cpu=device == "cpu")


def train(
    student: NetworkDenoiser,
    pairs: NoisePairs,
    prompts: Conditioning | None,
    config: StudentConfig,
    *,
    variant: str,
    seed: int,
    folder: Path,
) -> Iterator[TrainState]:
    """Train ``student`` in place and yield a state every ``log_every`` steps; it ends as its moving average.

    Checkpoints in ``folder`` hold network, average, optimiser, learning rate and data position. Started again after a
    kill, the run continues from the last one and ends, on a CPU, with the same bits as an uninterrupted one.
    ``prompts`` are the encoded captions of all sample ids.
    """
    accelerator = make_accelerator(config.device)
    network = student.network.train().requires_grad_(True)
    parameters = list(network.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=config.lr, betas=(0.9, 0.999), weight_decay=0.0)
    schedule = get_cosine_schedule_with_warmup(optimizer, config.warmup_steps, config.num_steps)
    average = EMAModel(parameters, decay=config.ema_decay)
    first = _resume(folder / LAST, network, optimizer, schedule, average)
    student.network, optimizer = accelerator.prepare(network, optimizer)
    average.to(accelerator.device)
    power = pairs.jvp_power()
    gad_weight = config.gad_weight if variant == "gad" else 0.0
    for step in range(first, config.num_steps):
        batch = draw_batch(
            pairs, prompts, student.schedule, variant=variant, batch_size=config.batch_size, key=(seed, step)
        ).to(accelerator.device)
        terms = matching_step(
            student,
            batch,
            gad_weight=gad_weight,
            h=pairs.config.perturbation_scale,
            jvp_power=power,
            loss=config.loss,
        )
        means = {name: term.mean().item() for name, term in terms.items()}
        for name, value in means.items():
            if not math.isfinite(value):
                raise NonFiniteLoss(f"loss term {name!r} is {value} at step {step} ({variant}, seed {seed})")
        accelerator.backward(terms["total"])
        norm = float(accelerator.clip_grad_norm_(parameters, config.max_grad_norm))
        if not math.isfinite(norm):  # before the step, so that no checkpoint is spoilt
            raise NonFiniteLoss(f"the gradient's norm is {norm} at step {step} ({variant}, seed {seed})")
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        average.step(parameters)
        done = step + 1
        if done % config.checkpoint_every == 0 and done < config.num_steps:
            _save(folder / LAST, done, accelerator.unwrap_model(student.network), optimizer, schedule, average)
        if done % config.log_every == 0 or done == config.num_steps:
            yield TrainState(done, means, schedule.get_last_lr()[0], norm)
    student.network = accelerator.unwrap_model(student.network)
    average.copy_to(parameters)
    student.network.eval().requires_grad_(False).to("cpu")


def _save(path: Path, step: int, network, optimizer, schedule, average: EMAModel) -> None:
    state = {"step": step, "network": network.state_dict(), "optimizer": optimizer.state_dict()}
    state |= {"schedule": schedule.state_dict(), "average": average.state_dict()}
    write_checkpoint(path, state)


def _resume(path: Path, network, optimizer, schedule, average: EMAModel) -> int:
    """Load a checkpoint if there is one; return the number of steps that are done."""
    state = read_checkpoint(path)
    if state is None:
        return 0
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    average.load_state_dict(state["average"])
    return state["step"]
