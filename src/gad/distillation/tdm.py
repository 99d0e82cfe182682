r"""Distribution matching with a fake score: TDM, and DMD2 with one step or several.

The student is sampled from the stored noises without a gradient, to one timestep per sample. Its x0 prediction there is
re-noised to x_t, and teacher and fake score predict x0 from it. The fake score is a second network that learns to
denoise the student's outputs. Where the teacher at x_t sees more of its data than the fake score sees of the student's,
the difference of their x0 predictions gives the direction in which x0 has to move:

.. math:: \nabla_\theta L = E\left[ (x_0^F - x_0^T)(x_t, t)\, \partial x_0^S / \partial \theta \right]

That is half the squared error's gradient, as in DMD and DMD2 (Yin et al. 2024). TDM (Luo et al. 2025) uses pseudo-Huber
instead, which leaves little more than the sign of each element, and re-noises x0 no further than to the sampling step's
own times; DMD2 re-noises it to all times before its own. With one step that is the same.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gad.diffusion.denoiser import Denoiser
from gad.diffusion.shapes import Latent, PerSample, mean_per_sample
from gad.distillation.batch import Batch
from gad.distillation.fake_score import denoising_loss_of_fake
from gad.distillation.fake_score_objective import FakeScoreObjective
from gad.distillation.losses import pseudo_huber
from gad.distillation.renoising import Rollout

DistanceKind = Literal["mse", "pseudo_huber"]


@dataclass(frozen=True, kw_only=True)
class Tdm(FakeScoreObjective):
    """Distribution matching, TDM where it is ``onward``, else DMD2. ``teacher`` is guided, ``fake`` is not.

    ``kind`` is the distance to the moved x0: pseudo-Huber in TDM, whose gradient is little more than a sign; half
    the squared error in DMD, whose gradient is the scores' difference itself.
    """

    kind: DistanceKind

    def auxiliary_loss(
        self, student: Denoiser, batch: Batch, generator: torch.Generator, rollout: Rollout | None = None
    ) -> PerSample:
        """The fake score's denoising loss, ``[B]``."""
        with torch.no_grad():
            state = self._renoised(student, batch, generator, rollout and rollout.detached())
        return denoising_loss_of_fake(self.fake, state, batch, student.schedule)

    def terms(
        self, student: Denoiser, batch: Batch, generator: torch.Generator, rollout: Rollout | None = None
    ) -> dict[str, Tensor]:
        """``tdm`` or ``dmd2``, the terms of GAD where they are weighed, and the ``total``."""
        state = self._renoised(student, batch, generator, rollout)
        with torch.no_grad():
            real, fake = (score(state.x_t, state.t, batch.conditioning) for score in (self.teacher, self.fake))
        loss = tdm_loss(state.x0, real, fake, kind=self.kind)
        free = state.x0 if self.student_steps == 1 else None
        terms = self.stored.add_to({"tdm" if self.onward else "dmd2": loss}, student, batch, generator, x0=free)
        if self.score_form is None:
            return terms
        scores = (self.teacher, self.fake)
        return self.score_form.add_to(terms, scores, student, batch, state, generator, x0=free)


def tdm_loss(x0: Latent, real: Latent, fake: Latent, *, kind: DistanceKind = "mse") -> PerSample:
    """Loss ``[B]`` whose gradient on the student's ``x0`` points along fake - real; 0 when they agree.

    D(x0, sg[x0 + real - fake]) / mean|x0 - real|, where D is half the squared error or pseudo-Huber, mean over
    elements. ``real`` is the teacher's (guided) and ``fake`` the fake score's x0 at the same x_t; neither gets a
    gradient, nor does the weight.
    """
    target = (x0 + real - fake).detach()
    scale = mean_per_sample((x0 - real).detach().abs()).clamp(min=1e-8)
    error = x0 - target
    return mean_per_sample(error.square() / 2 if kind == "mse" else pseudo_huber(error)) / scale
