"""Distillation that matches distributions with a fake score: TDM (DMD's loss where the chain has one node) and SiD.

The student walks its own chain from the stored noises without a gradient, to one node per sample; its answer there is
re-noised, and teacher and fake score are asked what they see. The fake score is a second network that learns to
denoise the student's answers. One point, one function: both networks are asked at the same x_t.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from gad.diffusion.denoiser import Denoiser, NetworkDenoiser
from gad.diffusion.guidance import Guided, on_device
from gad.diffusion.shapes import PerSample
from gad.losses.distribution import DistanceKind, distribution_matching_loss, fake_score_loss, min_snr_weight
from gad.losses.score_identity import score_identity_loss
from gad.objectives.batch import Batch
from gad.objectives.renoised import Renoised, answer_renoised
from gad.objectives.score_forms import ScoreForm
from gad.objectives.stored import Stored


def denoising_loss_of_fake(fake: Denoiser, state: Renoised, batch: Batch, schedule) -> PerSample:
    """What the fake score pays for its answer to the student's re-noised answers, ``[B]``."""
    weight = min_snr_weight(schedule, state.t) * state.importance
    return fake_score_loss(fake(state.x_t, state.t, batch.conditioning), state.x0, weight)


@dataclass(frozen=True)
class Tdm:
    """Trajectory distribution matching. ``teacher`` is guided, ``fake`` is not.

    ``kind`` is the distance to the moved answer: pseudo-Huber in TDM, whose gradient is little more than a sign; half
    the squared error in DMD, whose gradient is the scores' difference itself.
    """

    teacher: Denoiser
    fake: NetworkDenoiser
    num_nodes: int
    stored: Stored
    kind: DistanceKind
    score_form: ScoreForm | None = None

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
        """``tdm``, the terms of GAD where they are weighed, and the ``total``."""
        state = answer_renoised(student, batch, generator, num_nodes=self.num_nodes, onward=True)
        with torch.no_grad():
            real, fake = (score(state.x_t, state.t, batch.conditioning) for score in (self.teacher, self.fake))
        loss = distribution_matching_loss(state.x0, real, fake, kind=self.kind)
        free = state.x0 if self.num_nodes == 1 else None
        terms = self.stored.add_to({"tdm": loss}, student, batch, generator, x0=free)
        if self.score_form is None:
            return terms
        scores = (self.teacher, self.fake)
        return self.score_form.add_to(terms, scores, student, batch, state, generator, x0=free)


@dataclass(frozen=True)
class Sid:
    """Score identity distillation; teacher and fake score are guided alike and both pass the gradient on to x_t."""

    teacher: Denoiser
    fake: NetworkDenoiser
    num_nodes: int
    stored: Stored
    alpha: float
    score_form: ScoreForm | None = None

    @property
    def auxiliary(self) -> nn.Module:
        return self.fake.network

    def to(self, device) -> "Sid":
        """The same with both networks on ``device``."""
        return replace(self, teacher=on_device(self.teacher, device), fake=on_device(self.fake, device))

    def auxiliary_loss(self, student: Denoiser, batch: Batch, generator: torch.Generator) -> PerSample:
        """The fake score's denoising loss, ``[B]``, under the guidance with which it is asked: so the two scores agree
        where the student's law is the guided teacher's, and not where it is the plain one's."""
        with torch.no_grad():
            state = answer_renoised(student, batch, generator, num_nodes=self.num_nodes, onward=False)
        return denoising_loss_of_fake(guided_alike(self.fake, self.teacher), state, batch, student.schedule)

    def terms(self, student: Denoiser, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """``sid``, the terms of GAD where they are weighed, and the ``total``."""
        state = answer_renoised(student, batch, generator, num_nodes=self.num_nodes, onward=False)
        alike = (self.teacher, guided_alike(self.fake, self.teacher))
        real, fake = (score(state.x_t, state.t, batch.conditioning) for score in alike)
        loss = score_identity_loss(state.x0, real, fake, alpha=self.alpha)
        free = state.x0 if self.num_nodes == 1 else None
        terms = self.stored.add_to({"sid": loss}, student, batch, generator, x0=free)
        if self.score_form is None:
            return terms
        scores = (self.teacher, self.fake) if self.score_form.form == "released" else alike
        return self.score_form.add_to(terms, scores, student, batch, state, generator, x0=free)


def guided_alike(fake: Denoiser, teacher: Denoiser) -> Denoiser:
    """The fake score under the teacher's guidance, if it has any: two that answer alike then stay alike."""
    return Guided(fake, teacher.uncond, teacher.guidance_scale) if isinstance(teacher, Guided) else fake


def fake_score_of(teacher: Denoiser, student: NetworkDenoiser) -> NetworkDenoiser:
    """Where a fake score starts: a copy of the teacher's network, or of the student's for a teacher without one."""
    source = teacher.denoiser if isinstance(teacher, Guided) else teacher
    start = source if isinstance(source, NetworkDenoiser) else student
    return start.copied()
