"""Output matching with the response form of GAD on free pairs. Eq. (2), (6) and (7)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gad.diffusion.denoiser import Denoiser
from gad.distillation.batch import Batch
from gad.distillation.pair_terms import Alignment
from gad.distillation.targets import ComparedOutput
from gad.distillation.time_window import TimeWindow
from gad.distillation.trainable import UNWEIGHTED, Networks


@dataclass(frozen=True)
class Matching:
    """Regression to the stored trajectories. The pairs serve both terms: GAD costs no extra call.

    ``by_ratio``: GAD is left unweighted, for :class:`gad.distillation.gradient_ratio.GradientRatio`.
    """

    alignment: Alignment
    gad_weight: float
    time_window: TimeWindow = TimeWindow()
    auxiliary: None = None
    compared: ComparedOutput = ComparedOutput()
    by_ratio: bool = False

    def networks(self) -> Networks:
        """None: the teacher's outputs are stored."""
        return Networks()

    def to(self, device) -> "Matching":
        """Itself: it holds no network."""
        return self

    def terms(self, student: Denoiser, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """``matching``, ``gad`` where there are pairs, and their weighted ``total``."""
        terms = self.alignment.terms(self.compared(student, batch), batch, generator)
        weight = self.time_window.step_weight(self.gad_weight, generator)
        total = terms["matching"].mean()
        if batch.paired and weight:
            weighted_term = terms[self.alignment.weighted_term]
            mean = self.time_window.mean(weighted_term, batch.t[: len(weighted_term)])
            if self.by_ratio:
                return terms | {UNWEIGHTED + self.alignment.weighted_term: mean, "total": total}
            total = total + weight * mean
        return terms | {"total": total}
