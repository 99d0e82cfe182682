"""Distillation that matches distributions with a fake score: TDM (DMD2 where the chain has one node) and SiD.

The student walks its own chain from the stored noises without a gradient, to one node per sample; its answer there is
re-noised, and teacher and fake score are asked what they see. The fake score is a second network that learns to
denoise the student's answers. One point, one function: both networks are asked at the same x_t.
"""

import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from gad.losses.distribution import (
    distribution_matching_loss,
    fake_score_loss,
    importance_weight,
    min_snr_weight,
    renoise,
)
from gad.losses.score_identity import score_identity_loss
from gad.models.denoiser import Denoiser, Guided, NetworkDenoiser, on_device
from gad.objectives.batch import Batch
from gad.objectives.stored import Stored
from gad.sampling import ddim_step, node_times, sample
from gad.schedule import expand
from gad.shapes import Latent, PerSample

EARLIEST = 0.02  # the re-noised times' lower end
MARGIN = 0.01  # how far they stay below the node


@dataclass(frozen=True)
class Renoised:
    """The student's answer at a node of its own chain and a re-noised state of it."""

    x0: Latent
    x_t: Latent
    t: PerSample
    importance: PerSample


def answer_renoised(
    student: Denoiser, batch: Batch, generator: torch.Generator, *, num_nodes: int, onward: bool
) -> Renoised:
    """The student's answer at a random node of its chain, with its gradient, and a random later state of it.

    ``onward`` (TDM): the answer is taken to the next node first and re-noised to a time between that and its own. Else
    (SiD): it is re-noised from clean data to any time before its own.
    """
    count, times = len(batch.noise), node_times(num_nodes).to(batch.noise)
    node = torch.randint(num_nodes, (count,), generator=generator).to(times.device)
    uniform = torch.rand(count, generator=generator).to(times)
    eps = torch.randn(batch.noise.shape, generator=generator).to(times)
    with torch.no_grad():
        states = sample(student, batch.noise, batch.conditioning, num_steps=num_nodes, stop=num_nodes - 1)
    x_node, t_node = states[node, torch.arange(count)], times[node]
    t_mid = times[node + 1] if onward else torch.zeros_like(t_node)
    x0 = student(x_node, t_node, batch.conditioning)
    x_mid = ddim_step(student.schedule, x_node, x0, t_node, t_mid)
    low, high = t_mid.clamp(min=EARLIEST), t_node - MARGIN
    t = low + (high - low) * uniform
    a, b = renoise(student.schedule, t_mid, t)
    x_t = expand(a, eps) * x_mid + expand(b, eps) * eps
    mixed = (x_t - expand(student.schedule.alpha(t), eps) * x0) / expand(student.schedule.sigma(t), eps)
    return Renoised(x0, x_t, t, importance_weight(eps, mixed).detach())


def denoising_loss_of_fake(fake: Denoiser, state: Renoised, batch: Batch, schedule) -> PerSample:
    """What the fake score pays for its answer to the student's re-noised answers, ``[B]``."""
    weight = min_snr_weight(schedule, state.t) * state.importance
    return fake_score_loss(fake(state.x_t, state.t, batch.conditioning), state.x0, weight)


@dataclass(frozen=True)
class Tdm:
    """Trajectory distribution matching; with one node DMD2. ``teacher`` is guided, ``fake`` is not."""

    teacher: Denoiser
    fake: NetworkDenoiser
    num_nodes: int
    stored: Stored

    @property
    def auxiliary(self) -> nn.Module:
        return self.fake.network

    def to(self, device) -> "Tdm":
        """The same with both networks on ``device``."""
        return replace(self, teacher=on_device(self.teacher, device), fake=on_device(self.fake, device))

    def auxiliary_loss(self, student: Denoiser, batch: Batch, generator: torch.Generator) -> PerSample:
        """The fake score's denoising loss, ``[B]``."""
        with torch.no_grad():
            state = answer_renoised(student, batch, generator, num_nodes=self.num_nodes, onward=True)
        return denoising_loss_of_fake(self.fake, state, batch, student.schedule)

    def terms(self, student: Denoiser, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """``tdm``, the terms on stored pairs where they are weighed, and the ``total``."""
        state = answer_renoised(student, batch, generator, num_nodes=self.num_nodes, onward=True)
        with torch.no_grad():
            real, fake = (score(state.x_t, state.t, batch.conditioning) for score in (self.teacher, self.fake))
        loss = distribution_matching_loss(state.x0, real, fake, kind="pseudo_huber")
        return self.stored.add_to({"tdm": loss}, student, batch)


@dataclass(frozen=True)
class Sid:
    """Score identity distillation; teacher and fake score are guided alike and both pass the gradient on to x_t."""

    teacher: Denoiser
    fake: NetworkDenoiser
    num_nodes: int
    stored: Stored
    alpha: float

    @property
    def auxiliary(self) -> nn.Module:
        return self.fake.network

    def to(self, device) -> "Sid":
        """The same with both networks on ``device``."""
        return replace(self, teacher=on_device(self.teacher, device), fake=on_device(self.fake, device))

    def auxiliary_loss(self, student: Denoiser, batch: Batch, generator: torch.Generator) -> PerSample:
        """The fake score's denoising loss, ``[B]``."""
        with torch.no_grad():
            state = answer_renoised(student, batch, generator, num_nodes=self.num_nodes, onward=False)
        return denoising_loss_of_fake(self.fake, state, batch, student.schedule)

    def terms(self, student: Denoiser, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """``sid``, the terms on stored pairs where they are weighed, and the ``total``."""
        state = answer_renoised(student, batch, generator, num_nodes=self.num_nodes, onward=False)
        guided = isinstance(self.teacher, Guided)
        fake = Guided(self.fake, self.teacher.uncond, self.teacher.guidance_scale) if guided else self.fake
        real, fake = (score(state.x_t, state.t, batch.conditioning) for score in (self.teacher, fake))
        return self.stored.add_to({"sid": score_identity_loss(state.x0, real, fake, alpha=self.alpha)}, student, batch)


def fake_score_of(teacher: Denoiser, student: NetworkDenoiser) -> NetworkDenoiser:
    """Where a fake score starts: a copy of the teacher's network, or of the student's for a teacher without one."""
    source = teacher.denoiser if isinstance(teacher, Guided) else teacher
    start = source if isinstance(source, NetworkDenoiser) else student
    network = copy.deepcopy(start.network)
    return NetworkDenoiser(network, start.call, start.schedule, start.parameterisation)
