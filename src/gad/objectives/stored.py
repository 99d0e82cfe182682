"""The terms on stored noise pairs: GAD's response form, and the pointwise anchor that is its strongest rival."""

from dataclasses import dataclass

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
class Stored:
    """The terms on stored pairs beside a base loss, and their weights. They cost one more call of the student."""

    alignment: Alignment
    gad_weight: float
    anchor_weight: float

    def add_to(self, terms: dict[str, Tensor], student: Denoiser, batch: Batch) -> dict[str, Tensor]:
        """The terms with the weighted ``total``; the first one is the base loss."""
        total = next(iter(terms.values())).mean()
        if batch.paired and (self.gad_weight or self.anchor_weight):
            stored = self.alignment.terms(student(batch.x_t, batch.t, batch.conditioning), batch)
            total = total + self.gad_weight * stored["gad"].mean() + self.anchor_weight * stored["matching"].mean()
            terms = terms | stored
        return terms | {"total": total}
