"""Output matching with the response form of GAD on free pairs. Eq. (2), (6) and (7)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gad.losses.gad import gad_response_loss
from gad.losses.matching import Kind, matching_loss
from gad.models.denoiser import Denoiser
from gad.objectives.batch import Batch
from gad.response import Response
from gad.shapes import Latent


@dataclass(frozen=True)
class Alignment:
    """Terms on stored pairs: the teacher's answer itself, and its response.

    ``h`` is the pairs' step and ``jvp_power`` the teacher's mean squared response. ``gad`` is relative to it, so 1
    means no response at all; in the paper's units (loss on differences, mean over elements) its weight is divided by
    jvp_power h².
    """

    h: float
    jvp_power: float
    kind: Kind

    def terms(self, x0: Latent, batch: Batch) -> dict[str, Tensor]:
        """``matching`` for every state and, for paired batches, ``gad`` for every pair, ``[B]`` and ``[B/2]``."""
        terms = {"matching": matching_loss(x0, batch.target, kind=self.kind)}
        if batch.paired:
            value, moved = x0.chunk(2)
            base, base_moved = batch.target.chunk(2)
            student, teacher = (moved - value) / self.h, (base_moved - base) / self.h
            terms["gad"] = gad_response_loss(Response(value, student), Response(base, teacher)) / self.jvp_power
        return terms


@dataclass(frozen=True)
class Matching:
    """Regression to the stored trajectories. The pairs serve both terms: GAD costs no extra call."""

    alignment: Alignment
    gad_weight: float
    auxiliary: None = None

    def to(self, device) -> "Matching":
        """Itself: it holds no network."""
        return self

    def terms(self, student: Denoiser, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """``matching``, ``gad`` where there are pairs, and their weighted ``total``."""
        terms = self.alignment.terms(student(batch.x_t, batch.t, batch.conditioning), batch)
        extra = self.gad_weight * terms["gad"].mean() if self.gad_weight else 0
        return terms | {"total": terms["matching"].mean() + extra}
