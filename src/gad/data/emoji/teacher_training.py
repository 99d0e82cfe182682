"""Training of a small teacher: denoising with its own parameterisation, and beside it a text encoder not yet frozen."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from gad.diffusion.conditioning import Conditioning
from gad.diffusion.denoiser import NetworkDenoiser
from gad.diffusion.schedule import Schedule, add_noise, from_x0
from gad.diffusion.shapes import expand_per_sample
from gad.models.pipelines import pipeline_denoiser, pipeline_network
from gad.models.token_encoding import encode_tokens
from gad.runtime.checkpoint import GeneratorState, resume_checkpoint_parts, save_checkpoint_parts
from gad.runtime.moving_average import MovingAverage

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import DiffusionPipeline

PROMPT_DROPOUT = 0.1  # share of empty prompts, so that guidance has an unconditional prediction
CHECKPOINT_EVERY = 250  # steps
LARGEST_WEIGHT = 20.0  # cap on 1 / alpha², the weight that makes an eps loss a v loss
MUON_LR = 3  # times the learning rate
WARMUP = 100  # steps
DECAY = 0.3  # share of the steps at the end over which the learning rate falls to 0
SMALLEST_TIME = 1e-3  # the first timestep of a table of 1000; below it a table rounds to clean data, where eps is lost


SMOOTHING = 50  # steps, of the curve that is shown


def teacher_training_learning_rate(step: int, num_steps: int) -> float:
    """The learning rate's factor, in (0, 1]: linear warm-up, constant, linear decay.

    Until the decay starts a training does not depend on its length, so an unfinished one can be given another.
    """
    return min(1.0, (step + 1) / min(WARMUP, num_steps), (num_steps - step) / (DECAY * num_steps))


def muon_matrices(network: nn.Module) -> list[tuple[nn.Parameter, nn.Parameter]]:
    """Each weight of the network's blocks with a view of it as a matrix, as Muon takes it; not depthwise ones."""
    named = [(name, p) for name, p in network.named_parameters() if "block" in name and name.endswith(".weight")]
    weights = [p for _, p in named if p.ndim in (2, 4) and p.shape[1] > 1]
    return [(weight, nn.Parameter(weight.data.view(len(weight), -1))) for weight in weights]


def make_teacher_optimizers(modules: nn.ModuleList, matrices: list, lr: float) -> list[Optimizer]:
    """Muon for the matrices, AdamW for the rest. Muon's rate is matched to AdamW's and raised ``MUON_LR`` times."""
    taken = {id(weight) for weight, _ in matrices}
    rest = [p for p in modules.parameters() if p.requires_grad and id(p) not in taken]
    return [
        torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.99), weight_decay=0.01),
        torch.optim.Muon(
            [view for _, view in matrices], lr=MUON_LR * lr, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
        ),
    ]


def sample_teacher_training_times(count: int, generator: torch.Generator) -> Tensor:
    """Training times in [``SMALLEST_TIME``, 1] with density 2t: what an image shows is settled at high noise."""
    return (1 - torch.rand(count, generator=generator)).sqrt().clamp(min=SMALLEST_TIME)


def teacher_denoising_loss(
    denoiser: NetworkDenoiser, x0: Tensor, eps: Tensor, t: Tensor, conditioning: Conditioning | None
) -> Tensor:
    """Squared error of the network's own output per sample, ``[B]``; for eps weighted by 1 / alpha², capped."""
    schedule: Schedule = denoiser.schedule
    x_t = add_noise(schedule, x0, eps, t)
    target = from_x0(schedule, x0, x_t, t, denoiser.parameterisation)
    error = (denoiser.output(x_t, t, conditioning) - target).square()
    if denoiser.parameterisation == "eps":
        error = error * expand_per_sample((1 / schedule.alpha(t).square()).clamp(max=LARGEST_WEIGHT), error)
    return error.flatten(1).mean(1)


def _noisy_batch(
    draw: Callable[[torch.Generator], tuple[Tensor, Tensor, Tensor]],
    empty: tuple[Tensor, Tensor],
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Latents, token ids and masks with some prompts dropped, noise and times of a step."""
    latents, ids, mask = draw(generator)
    dropped = torch.rand(len(ids), 1, generator=generator) < PROMPT_DROPOUT
    ids, mask = torch.where(dropped, empty[0], ids), torch.where(dropped, empty[1], mask)
    t = sample_teacher_training_times(len(ids), generator)
    return latents, ids, mask, torch.randn(latents.shape, generator=generator), t


class TeacherState:
    """Network and text encoder that learn, their optimizers and learning rates, the average, and the random state."""

    def __init__(self, modules: nn.ModuleList, generator: torch.Generator, *, num_steps: int, lr: float):
        self.modules = modules
        self.parameters = [p for p in modules.parameters() if p.requires_grad]
        self.matrices = muon_matrices(modules[0])
        self.optimizers = make_teacher_optimizers(modules, self.matrices, lr)
        self.schedules = [
            LambdaLR(optimizer, lambda step: teacher_training_learning_rate(step, num_steps))
            for optimizer in self.optimizers
        ]
        self.average = MovingAverage(self.parameters, decay=0.998)
        self.parts = {"modules": modules, "average": self.average, "generator": GeneratorState(generator)}
        self.parts |= {f"optimizer_{i}": optimizer for i, optimizer in enumerate(self.optimizers)}
        self.parts |= {f"schedule_{i}": schedule for i, schedule in enumerate(self.schedules)}

    def update(self, loss: Tensor) -> None:
        """A step down the gradient of a scalar loss."""
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for weight, view in self.matrices:
            assert weight.grad is not None, "the backward pass has just been"
            view.grad = weight.grad.view_as(view)
        for optimizer, schedule in zip(self.optimizers, self.schedules, strict=True):
            optimizer.step()
            schedule.step()
        self.modules.zero_grad()
        self.average.step(self.parameters)


def train_teacher(
    pipeline: "DiffusionPipeline",
    batch: Callable[[torch.Generator], tuple[Tensor, Tensor, Tensor]],
    empty: tuple[Tensor, Tensor],
    *,
    num_steps: int,
    lr: float,
    seed: int,
    autocast: torch.dtype | None = torch.bfloat16,
    checkpoint: Path | None = None,
) -> Iterator[dict]:
    """Yield step and loss while the pipeline's network learns; it ends as its moving average.

    The text encoder learns along, except one whose parameters are frozen.
    With a ``checkpoint`` file the whole state is written there every ``CHECKPOINT_EVERY`` steps, and read back first.
    ``batch`` draws latents ``[B, C, H, W]``, token ids and masks ``[B, L]``; ``empty`` is the tokenised empty prompt.
    """
    generator = torch.Generator().manual_seed(seed)
    denoiser = pipeline_denoiser(pipeline)
    masked = denoiser.call.__name__ != "call_unet"
    modules = nn.ModuleList([pipeline_network(pipeline).requires_grad_(True), pipeline.text_encoder]).train()
    state = TeacherState(modules, generator, num_steps=num_steps, lr=lr)
    first = resume_checkpoint_parts(checkpoint, state.parts).get("step", 0) if checkpoint else 0
    for step in range(first, num_steps):
        latents, ids, mask, eps, t = _noisy_batch(batch, empty, generator)
        # the math kernel: torch's bfloat16 attention backward on a CPU is seven times slower
        with torch.autocast("cpu", dtype=autocast, enabled=autocast is not None), sdpa_kernel(SDPBackend.MATH):
            conditioning = encode_tokens(pipeline.text_encoder, ids, mask, masked=masked)
            loss = teacher_denoising_loss(denoiser, latents, eps, t, conditioning).mean()
        if not loss.isfinite():
            raise FloatingPointError(f"teacher loss is {loss.item()} at step {step}")
        state.update(loss)
        if checkpoint and (step + 1) % CHECKPOINT_EVERY == 0:
            save_checkpoint_parts(checkpoint, state.parts, {"step": step + 1})
        yield {"step": step, "loss": loss.item()}
    state.average.copy_to(state.parameters)
    modules.eval().requires_grad_(False)


def smoothed_teacher_training_log(log: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The log as :func:`gad.report.figures.training_curves` draws it, its loss a moving average."""
    if log.empty:
        return log
    return log.assign(matching=log["loss"].ewm(span=SMOOTHING).mean(), variant="teacher", seed=seed)
