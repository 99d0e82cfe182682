"""GAD in the scores' own space: how teacher and fake score respond to a step at the student's re-noised output.

Only where a fake score learns beside the student. The forms, and what is sound about each:
:mod:`gad.distillation.gad_loss`.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gad.diffusion.conditioning import Conditioning
from gad.diffusion.denoiser import Denoiser
from gad.diffusion.guidance import Guided
from gad.diffusion.retimed_schedule import process_schedule
from gad.diffusion.shapes import Latent, PerSample, expand_per_sample
from gad.distillation.batch import Batch
from gad.distillation.gad_loss import gad_released_loss, gad_score_fixed_loss, gad_score_loss
from gad.distillation.pair_terms import pair_term_response
from gad.distillation.renoising import Renoised
from gad.distillation.time_window import TimeWindow
from gad.distillation.trainable import UNWEIGHTED

RELEASED_STEP = 1e-2  # of a direction of unit norm, as in the released code (Huang et al.)

Scores = tuple[Denoiser, Denoiser]
"""The teacher, which may be guided, and the fake score as the base loss uses it: guided alike in SiD, bare in TDM.

The released form takes the bare one in both, as in the released code (Huang et al.).
"""


@dataclass(frozen=True)
class ScoreForm:
    """A score form's term and weight. ``score`` and ``score_fixed`` are relative to ``jvp_power``, the teacher's mean
    squared response. ``by_ratio``: the term is left unweighted."""

    form: Literal["score", "score_fixed", "released"]
    jvp_power: float
    weight: float
    time_window: TimeWindow = TimeWindow()
    by_ratio: bool = False

    def add_to(
        self,
        terms: dict[str, Tensor],
        scores: Scores,
        student: Denoiser,
        batch: Batch,
        state: Renoised,
        generator: torch.Generator,
        *,
        x0: Latent | None = None,
    ) -> dict[str, Tensor]:
        """``terms`` with the form's own and a new ``total``; gradients flow through the student alone.

        ``x0`` is the student's output for the pairs where the base loss has it already: with one sampling step.
        """
        weight = self.time_window.step_weight(self.weight, generator)
        if not weight:
            return terms
        if self.form == "released":
            term = released_score_term(scores, student, batch.conditioning, state, batch.normal(generator))
        else:
            if self.form == "score":
                fake, real = self._jvps(scores, batch, state, pair_term_response(batch.noise, batch.pair_steps).jvp)
                term = gad_score_loss(state.x_t[: len(fake)], fake, real) / self.jvp_power
            else:
                output = student(batch.x_t, batch.t, batch.conditioning) if x0 is None else x0
                own = pair_term_response(output, batch.pair_steps).jvp
                # what a step of x0 is in x_t
                alpha = expand_per_sample(process_schedule(student.schedule).alpha(state.t[: len(own)]), own)
                fake, real = self._jvps(scores, batch, state, alpha * own.detach())
                term = gad_score_fixed_loss(own, fake, real) / self.jvp_power
        mean = self.time_window.mean(term, state.t[: len(term)])
        if self.by_ratio:
            return terms | {self.form: term, UNWEIGHTED + self.form: mean}
        return terms | {self.form: term, "total": terms["total"] + weight * mean}

    @torch.no_grad()
    def _jvps(self, scores: Scores, batch: Batch, state: Renoised, step: Latent) -> tuple[Latent, Latent]:
        """Fake score's and teacher's responses to ``h`` times that step, at the unperturbed members' states.

        The derivations in :mod:`gad.distillation.gad_loss` hold for straight steps and one-step students. A
        spherical step also holds (cos a - 1) P z, which does not turn with v, so Eq. (9) has a small mean there; with
        more sampling steps the student's response is taken at the pair's timestep and not where x_t comes from.
        """
        first = slice(len(step))
        x_t, t, h = state.x_t[first], state.t[first], expand_per_sample(batch.pair_steps, step)
        prompts = None if batch.conditioning is None else batch.conditioning[first]
        real, fake = ((score(x_t + h * step, t, prompts) - score(x_t, t, prompts)) / h for score in scores)
        return fake, real


def released_score_term(
    scores: Scores, student: Denoiser, prompts: Conditioning | None, state: Renoised, v: Latent
) -> PerSample:
    """The script's term, ``[B]``: a step of norm ``RELEASED_STEP`` along v, its student gap across two points."""
    teacher, fake = scores
    x_t, t = state.x_t.detach(), state.t
    moved = x_t + RELEASED_STEP * v / v.flatten(1).norm(dim=1).view(-1, 1, 1, 1)

    def gap(score: Denoiser, conditioning: Conditioning | None) -> Latent:
        return score(moved, t, conditioning) - score(x_t, t, conditioning)

    with torch.no_grad():
        if isinstance(teacher, Guided):
            empty = teacher.uncond.repeated(len(x_t))
            real, uncond, guidance = (
                gap(teacher.denoiser, prompts),
                gap(teacher.denoiser, empty),
                teacher.guidance_scale,
            )
        else:
            real = uncond = gap(teacher, prompts)
            guidance = 1.0
        fake_gap = gap(fake, prompts)
    return gad_released_loss(student(moved, t, prompts) - state.x0, real, uncond, fake_gap, guidance=guidance)
