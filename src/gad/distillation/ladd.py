"""LADD: a discriminator on the teacher's features of re-noised outputs, and regression to the stored endpoint."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from gad.diffusion.conditioning import Conditioning
from gad.diffusion.denoiser import Denoiser
from gad.diffusion.guidance import guided_denoiser_on_device
from gad.diffusion.schedule import add_noise
from gad.diffusion.shapes import Latent, PerSample
from gad.distillation.batch import Batch
from gad.distillation.discriminator import Discriminator
from gad.distillation.losses import matching_loss
from gad.distillation.pair_terms import Stored
from gad.distillation.targets import output_of_last_call, state_before_last_call
from gad.distillation.trainable import Networks, trainable_denoiser

LATEST = 0.75  # the re-noised times' upper end


Logits = Float[Tensor, "B K"]
"""A discriminator's logits: one number per head and place; positive means "the teacher's, and of this prompt"."""


@dataclass(frozen=True)
class Ladd:
    """Latent adversarial distillation. The teacher's endpoints are real samples; the heads learn beside the student.

    With a ``regression_weight`` the output is also regressed to the endpoint of its own noise. At weight 1 the
    student's loss is that of the released code (Nitro-1). Its discriminator differs: there the teacher's encoder learns
    along with the heads, at the student's learning rate, and re-noised times are uniform.
    """

    teacher: Denoiser
    discriminator: Discriminator
    student_steps: int
    stored: Stored
    regression_weight: float

    @property
    def auxiliary(self) -> Discriminator:
        return self.discriminator

    def networks(self) -> Networks:
        """The teacher, whose features the discriminator reads."""
        return Networks(frozen=trainable_denoiser(self.teacher))

    def to(self, device) -> "Ladd":
        """The same with the heads, and the teacher whose features they read, on ``device``."""
        return replace(
            self, teacher=guided_denoiser_on_device(self.teacher, device), discriminator=self.discriminator.to(device)
        )

    def _logits(self, x0: Latent, batch: Batch, conditioning: Conditioning | None, generator) -> Tensor:
        """What the discriminator says of x0, re-noised to a logit-normal time below ``LATEST``."""
        t = LATEST * torch.sigmoid(batch.normal_number(generator))
        eps = batch.normal(generator)
        return self.discriminator(add_noise(self.discriminator.schedule, x0, eps, t), t, conditioning)

    @torch.no_grad()
    def rollout(self, student: Denoiser, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """The last state of the student's trajectory, which both updates of a step begin with; nothing is drawn."""
        return state_before_last_call(student, batch, student_steps=self.student_steps)

    def _output(self, student: Denoiser, batch: Batch, last: Latent | None = None) -> Latent:
        """The student's x0 at the end of its trajectory; the last call carries the gradient."""
        last = self.rollout(student, batch) if last is None else last
        return output_of_last_call(student, batch, last, student_steps=self.student_steps)

    def auxiliary_loss(
        self, student: Denoiser, batch: Batch, generator: torch.Generator, last: Latent | None = None
    ) -> Tensor:
        """The discriminator's loss ``[B]``: endpoints against outputs, and endpoints under other prompts."""
        with torch.no_grad():
            x0 = self._output(student, batch, last)
        real = self._logits(batch.endpoint, batch, batch.conditioning, generator)
        fake = self._logits(x0, batch, batch.conditioning, generator)
        misaligned = None
        if batch.others is not None:
            misaligned = self._logits(batch.endpoint, batch, batch.others, generator)
        return ladd_discriminator_loss(real, fake, misaligned)

    def terms(
        self, student: Denoiser, batch: Batch, generator: torch.Generator, last: Latent | None = None
    ) -> dict[str, Tensor]:
        """``ladd`` (adversarial and regression), terms on stored pairs where they are weighed, and the ``total``."""
        x0 = self._output(student, batch, last)
        loss = ladd_generator_loss(self._logits(x0, batch, batch.conditioning, generator))
        if self.regression_weight:
            loss = loss + self.regression_weight * matching_loss(x0, batch.endpoint, kind="smooth_l1")
        compared = self.stored.compared
        own = compared.target == "end_to_end" and compared.gradient == "last_call"
        free = x0 if self.student_steps == 1 or own else None
        return self.stored.add_to({"ladd": loss}, student, batch, generator, x0=free)


def ladd_generator_loss(fake: Logits) -> PerSample:
    """-log D of the student's samples, ``[B]``, mean over logits; falls as they are taken for the teacher's."""
    return F.softplus(-fake).mean(dim=1)


def ladd_discriminator_loss(real: Logits, fake: Logits, misaligned: Logits | None = None) -> PerSample:
    """-log D(real) - log(1 - D(fake)), ``[B]``; 2 log 2 for a discriminator that knows nothing.

    ``misaligned`` are real samples under another sample's prompt: they share the fakes' weight with the student's.
    """
    fakes = F.softplus(fake).mean(dim=1)
    if misaligned is not None:
        fakes = (fakes + F.softplus(misaligned).mean(dim=1)) / 2
    return F.softplus(-real).mean(dim=1) + fakes
