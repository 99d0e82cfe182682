"""The terms on stored noise pairs: GAD's response form, its controls, and the pointwise anchor, its strongest rival."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from gad.diffusion.denoiser import Denoiser
from gad.diffusion.jvp import Response
from gad.diffusion.shapes import Latent, PerSample, expand_per_sample
from gad.distillation.batch import Batch
from gad.distillation.gad_loss import gad_response_loss
from gad.distillation.losses import Kind, matching_loss
from gad.distillation.targets import ComparedOutput
from gad.distillation.time_window import TimeWindow
from gad.distillation.trainable import UNWEIGHTED

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    import pandas as pd

SMALLEST = 1e-12  # squared; below it a response has no gradient: that of a root is infinite at 0
LARGEST = 3.0  # times the teacher's typical response, up to which a larger one counts as more diverse


@dataclass(frozen=True)
class Alignment:
    """Terms on stored pairs: the teacher's output itself, and its response.

    ``jvp_power`` is the mean squared response of the teacher's noise-to-image map. ``gad`` is relative to it, so for
    a one-step student 1 means no response at all; at later timesteps the teacher's own response is another.
    In the paper's units (loss on differences, mean over elements) its weight is divided by jvp_power h².
    ``weighted_term`` names the term that is trained on.
    """

    jvp_power: float
    kind: Kind
    weighted_term: Literal["gad", "other_pair", "diversity", "random", "random_bounded"] = "gad"

    def zeros(self, batch: Batch) -> dict[str, Tensor]:
        """What ``terms`` names, in its order, all 0: for a paired batch of which no pair is used."""
        names = dict.fromkeys(["matching", "gad", self.weighted_term])
        return {name: batch.t.new_zeros(len(batch.pair_steps)) for name in names}

    def terms(self, x0: Latent, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """``matching`` for every state and, for paired batches, ``gad`` and ``weighted_term``'s for every pair,
        ``[B/2]``.
        """
        terms = {"matching": matching_loss(x0, batch.target, kind=self.kind)}
        if batch.paired:
            h = batch.pair_steps
            student, teacher = pair_term_response(x0, h), pair_term_response(batch.target, h)
            terms["gad"] = gad_response_loss(student, teacher) / self.jvp_power
            if self.weighted_term != "gad":
                terms[self.weighted_term] = self._control(student, teacher, batch, generator)
        return terms

    def _control(self, student: Response, teacher: Response, batch: Batch, generator: torch.Generator) -> Tensor:
        """The loss of the control that ``weighted_term`` names, for every pair."""
        match self.weighted_term:
            case "diversity":
                return pair_term_diversity_loss(student, jvp_power=self.jvp_power)
            case "other_pair":
                assert batch.other_jvp is not None, "a batch of this control has another pair's responses"
                return gad_response_loss(student, Response(teacher.x0, batch.other_jvp)) / self.jvp_power
        direction, bounded = batch.normal(generator)[: len(batch.pair_steps)], self.weighted_term == "random_bounded"
        return pair_term_random_gradient_loss(student, teacher, direction, bounded=bounded) / self.jvp_power


def pair_term_response(x0: Latent, h: Tensor) -> Response:
    """Value and difference quotient of the outputs for a paired batch, ``[B/2]``. Eq. (5)."""
    value, moved = x0.chunk(2)
    return Response(value, (moved - value) / expand_per_sample(h, value))


@dataclass(frozen=True)
class Stored:
    """The terms on stored pairs beside a base loss, and their weights.

    They are free where the base loss has the student's outputs for the pairs already: with one sampling step, whose
    only state is the noise. Else they cost one more call of the student, which can be made smaller: with a
    ``stride`` it takes every stride-th pair of the batch, which leaves the terms' mean over batches as it is, and
    without an anchor only the pairs at which the time window is open. A part of a batch may hold more or less than its
    share of every stride-th pair, even none: its terms are raised by that ratio, so that their mean over parts stays.

    ``compared``: which output of the student is compared. ``first_step``: the anchor acts at the first timestep alone,
    at the weight that keeps its mean over those samples; by a gradient ratio that factor falls away. ``by_ratio``: the
    terms are left unweighted, for :class:`gad.distillation.gradient_ratio.GradientRatio`.
    """

    alignment: Alignment
    gad_weight: float
    anchor_weight: float
    time_window: TimeWindow = TimeWindow()
    stride: int = 1
    compared: ComparedOutput = ComparedOutput()
    first_step: bool = False
    by_ratio: bool = False

    def add_to(
        self,
        terms: dict[str, Tensor],
        student: Denoiser,
        batch: Batch,
        generator: torch.Generator,
        *,
        x0: Latent | None = None,
    ) -> dict[str, Tensor]:
        """The terms with the weighted ``total``; the first one is the base loss. ``x0`` is the free output, if any.

        Terms of a step depend on the step alone: where no pair of this part is used they are 0.
        """
        total = next(iter(terms.values())).mean()
        gad_weight = self.time_window.step_weight(self.gad_weight, generator)
        if not batch.paired or not (gad_weight or self.anchor_weight):
            return terms | {"total": total}
        chosen = torch.arange(len(batch.pair_steps)) if x0 is not None else batch.pairs_at(self.stride)
        whole = x0 is not None or self.anchor_weight or self.time_window.always
        used = chosen if whole else chosen[self.time_window.opens(batch.t_here[chosen])]
        if not len(used):  # other parts and processes may have some: the same names everywhere
            names = [self.alignment.weighted_term] * bool(gad_weight) + ["anchor"] * bool(self.anchor_weight)
            left = {UNWEIGHTED + name: torch.zeros_like(total) for name in names} if self.by_ratio else {}
            return terms | self.alignment.zeros(batch) | left | {"total": total}
        part = batch if len(used) == len(batch.pair_steps) else batch.part(used)
        output = self.compared(student, part) if x0 is None else x0
        stored = self.alignment.terms(output, part, generator)
        ratio = 1.0 if x0 is not None else len(chosen) * self.stride / len(batch.pair_steps)
        if ratio != 1:
            stored = {name: ratio * term for name, term in stored.items()}
        left = {}
        if gad_weight:
            name, share = self.alignment.weighted_term, len(used) / len(chosen)
            mean = self.time_window.mean(stored[name], part.t[: len(stored[name])])
            left[UNWEIGHTED + name] = share * mean
            total = total + gad_weight * share * mean
        if self.anchor_weight:
            anchor = self._anchor(stored["matching"], part)
            left[UNWEIGHTED + "anchor"] = anchor
            total = total + self.anchor_weight * anchor
        if self.by_ratio:
            return terms | stored | left | {"total": next(iter(terms.values())).mean()}
        return terms | stored | {"total": total}

    def _anchor(self, matching: Tensor, part: Batch) -> Tensor:
        """Mean regression to the stored pairs, or to those at the first timestep."""
        if not self.first_step:
            return matching.mean()
        return self.compared.student_steps * (matching * (part.t == 1)).mean()


def pair_term_diversity_loss(student: Response, *, jvp_power: float) -> PerSample:
    r"""Minus the size of the student's response, relative to the teacher's, ``[B]``: any response is a good one.

    .. math:: - \min\Big( \big( \tfrac{1}{d} \| J_S v \|_2^2 \,/\, p \big)^{1/2},\; 3 \Big), \qquad
        p = E \tfrac{1}{d} \|J_T v\|_2^2

    The diversity regulariser of the paper's Table 7, per unit of h, in [-3, 0]; lower is more diverse. The paper's has
    no bound, and beside a base loss that is weak far from the data the student's outputs then grow until they overflow.
    """
    power = student.jvp.square().flatten(1).mean(dim=1) / jvp_power
    return -power.clamp(min=SMALLEST).sqrt().clamp(max=LARGEST)


def pair_term_random_gradient_loss(
    student: Response, teacher: Response, direction: Tensor, *, bounded: bool = False
) -> PerSample:
    r"""A gradient on the student's response with GAD's norm, in a random direction, ``[B]``.

    .. math:: \frac{2}{d} \left< \mathrm{sg}(\rho),\, J_S v \right>, \qquad
        \rho = \| J_S v - J_T v \|_2 \; r / \|r\|_2

    Its gradient on J_S v has the norm of :func:`gad.distillation.gad_loss.gad_response_loss`'s, whatever ``direction``
    r is drawn; in the student's parameters random gradients of a batch cancel, so by a gradient ratio it is raised
    above GAD's in the response. Only its gradient has a meaning. It closes no gap, and grows with the gap that it
    opens; where it is ``bounded``, the norm of rho is at most that of the teacher's response.
    """
    gap = (student.jvp - teacher.jvp).flatten(1).norm(dim=1)
    if bounded:
        gap = torch.minimum(gap, teacher.jvp.flatten(1).norm(dim=1))
    r = direction.flatten(1)
    rho = (gap[:, None] * r / r.norm(dim=1, keepdim=True)).detach()
    return 2 * (rho * student.jvp.flatten(1)).mean(dim=1)


def pair_term_response_rows(batch: Batch, student: Response, teacher: Response) -> "pd.DataFrame":
    """A row per pair of a batch: its time and step, the size of both responses, their cosine, and the gap's size."""
    import pandas as pd  # here, since it takes seconds

    sizes = {"student": student.jvp, "teacher": teacher.jvp, "gap": student.jvp - teacher.jvp}
    rows = {"t": batch.t[: len(batch.pair_steps)], "h": batch.pair_steps}
    rows |= {name: jvp.square().flatten(1).mean(1).sqrt() for name, jvp in sizes.items()}
    rows["cosine"] = torch.cosine_similarity(student.jvp.flatten(1), teacher.jvp.flatten(1))
    return pd.DataFrame({name: values.tolist() for name, values in rows.items()})
