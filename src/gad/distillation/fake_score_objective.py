"""What TDM, DMD2 and SiD share: a teacher, a fake score that learns, and the re-noised samples of the student."""

from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import nn

from gad.diffusion.denoiser import Denoiser, NetworkDenoiser
from gad.diffusion.guidance import guided_denoiser_on_device
from gad.distillation.batch import Batch
from gad.distillation.pair_terms import Stored
from gad.distillation.renoising import Renoised, Rollout, renoised_rollout, student_rollout
from gad.distillation.score_terms import ScoreForm
from gad.distillation.trainable import Networks, trainable_denoiser

Kind = TypeVar("Kind", bound="FakeScoreObjective")


@dataclass(frozen=True)
class FakeScoreObjective:
    """The networks of an objective with a fake score, and the student's samples that both updates learn from.

    ``onward``: where x0 is re-noised from, see :func:`gad.distillation.renoising.renoised_rollout`.
    """

    teacher: Denoiser
    fake: NetworkDenoiser
    student_steps: int
    stored: Stored
    score_form: ScoreForm | None = None
    shared: bool = False  # the rollout, between the student's update and the fake score's
    onward: bool = False

    @property
    def auxiliary(self) -> nn.Module:
        return self.fake.network

    def networks(self) -> Networks:
        """The fake score, which learns, and the teacher."""
        return Networks(learning=(self.fake,), frozen=trainable_denoiser(self.teacher))

    def to(self: Kind, device) -> Kind:
        """The same with both networks on ``device``."""
        return replace(self, teacher=guided_denoiser_on_device(self.teacher, device), fake=self.fake.to(device))

    def rollout(self, student: Denoiser, batch: Batch, generator: torch.Generator) -> Rollout | None:
        """The student's samples of a step where both updates share them, with the student's gradient."""
        if not self.shared:
            return None
        return student_rollout(student, batch, generator, student_steps=self.student_steps, shortest=True)

    def _renoised(
        self, student: Denoiser, batch: Batch, generator: torch.Generator, rollout: Rollout | None
    ) -> Renoised:
        """The re-noised state of the shared rollout, or of one of its own."""
        found = rollout or student_rollout(
            student, batch, generator, student_steps=self.student_steps, shortest=self.shared
        )
        return renoised_rollout(found, student.schedule, batch, generator, onward=self.onward)
