"""SiD, score identity distillation: the student's update from the teacher's score and the fake score."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gad.diffusion.denoiser import Denoiser
from gad.diffusion.guidance import guided_alike
from gad.diffusion.shapes import Latent, PerSample
from gad.distillation.batch import Batch
from gad.distillation.fake_score import denoising_loss_of_fake
from gad.distillation.fake_score_objective import FakeScoreObjective
from gad.distillation.renoising import Rollout


@dataclass(frozen=True, kw_only=True)
class Sid(FakeScoreObjective):
    """Score identity distillation; teacher and fake score are guided alike and both pass the gradient on to x_t."""

    alpha: float

    def auxiliary_loss(
        self, student: Denoiser, batch: Batch, generator: torch.Generator, rollout: Rollout | None = None
    ) -> PerSample:
        """The fake score's denoising loss, ``[B]``, under the guidance with which it is used: so the two scores agree
        where the student's law is the guided teacher's, and not where it is the plain one's."""
        with torch.no_grad():
            state = self._renoised(student, batch, generator, rollout and rollout.detached())
        return denoising_loss_of_fake(guided_alike(self.fake, self.teacher), state, batch, student.schedule)

    def terms(
        self, student: Denoiser, batch: Batch, generator: torch.Generator, rollout: Rollout | None = None
    ) -> dict[str, Tensor]:
        """``sid``, the terms of GAD where they are weighed, and the ``total``."""
        state = self._renoised(student, batch, generator, rollout)
        alike = (self.teacher, guided_alike(self.fake, self.teacher))  # two equal scores stay equal
        real, fake = (score(state.x_t, state.t, batch.conditioning) for score in alike)
        loss = sid_loss(state.x0, real, fake, alpha=self.alpha)
        free = state.x0 if self.student_steps == 1 else None
        terms = self.stored.add_to({"sid": loss}, student, batch, generator, x0=free)
        if self.score_form is None:
            return terms
        scores = (self.teacher, self.fake) if self.score_form.form == "released" else alike
        return self.score_form.add_to(terms, scores, student, batch, state, generator, x0=free)


def sid_loss(x0: Latent, real: Latent, fake: Latent, *, alpha: float = 1.0) -> PerSample:
    """The SiD loss ``[B]``, mean over elements, divided by sg mean|x0 - real|; 0 when real equals fake.

    ``x0``, ``real`` and ``fake`` all carry gradients to the student. alpha = 1 leaves (y_T - y_F) · (y_F - x0).
    It is no distance and can be negative.
    """
    gap = real - fake
    loss = (gap * ((real - x0) - alpha * gap)).flatten(1).mean(dim=1)
    scale = (x0 - real).detach().abs().flatten(1).mean(dim=1).clamp(min=1e-8)
    return loss / scale
