"""Weights of loss terms by the norms of their gradients: each term's is held at a fixed ratio to the base loss's."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gad.distillation.monitor import gradient_norms
from gad.distillation.trainable import UNWEIGHTED
from gad.runtime.distributed import average_numbers

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from accelerate import Accelerator

BASE = "base"
DECAY = 0.9  # of the running means, from one measurement to the next


def gradient_ratio_weights(norms: dict[str, float], ratio: float) -> dict[str, float]:
    r"""The weight of each term with which its gradient has ``ratio`` times the norm of the base loss's.

    .. math:: w_i = \text{ratio} \; \| \nabla L_\text{base} \| \,/\, \| \nabla L_i \|

    A term that has had no gradient yet has no weight either, and none has before the base loss had one.
    """
    return {name: ratio * norms.get(BASE, 0.0) / norm for name, norm in norms.items() if name != BASE}


class GradientRatio:
    """Running means of gradient norms, a part of checkpoints, and the weights that follow from them.

    Norms are those of a whole batch's terms on the student's parameters, measured at every ``every``-th step, and at
    each one until a term has had a gradient; with several processes the means of those of their parts. A norm of 0 (no
    pair of the batch is used) or one that overflowed says nothing of a term's gradient and is left out. The mean begins
    with the first norm, so the ratio holds on average over a training, less exactly at its beginning.
    """

    def __init__(self, ratio: float, every: int, accelerator: "Accelerator"):
        self.ratio, self.every, self.accelerator = ratio, every, accelerator
        self.norms: dict[str, float] = {}

    def weigh(
        self, terms: dict[str, Tensor], step: int, parameters: list[nn.Parameter], *, scale: float = 1.0
    ) -> dict[str, Tensor]:
        """``terms`` with what is unweighted in the ``total``, and ``weight_<term>`` instead of it."""
        left = {name.removeprefix(UNWEIGHTED): term for name, term in terms.items() if name.startswith(UNWEIGHTED)}
        kept = {name: term for name, term in terms.items() if not name.startswith(UNWEIGHTED)}
        if not left:
            return kept
        if step % self.every == 0 or not left.keys() <= self.norms.keys():
            self._measure({BASE: kept["total"], **left}, parameters, scale)
        weights = gradient_ratio_weights(self.norms, self.ratio)
        total = kept["total"]
        for name, term in left.items():
            total = total + weights.get(name, 0.0) * term
        shown = {f"weight_{name}": torch.full((), weights.get(name, 0.0), device=total.device) for name in left}
        return kept | shown | {"total": total}

    def _measure(self, losses: dict[str, Tensor], parameters: list[nn.Parameter], scale: float) -> None:
        """Take the norms of the losses' gradients into the running means."""
        found = gradient_norms(losses, parameters, scale)
        names = {f"gradient_norm_{name}": 0.0 for name in losses}  # the same in every process, used there or not
        norms = {name: torch.tensor(norm, device=self.accelerator.device) for name, norm in (names | found).items()}
        for name, norm in average_numbers(norms, self.accelerator).items():
            name, new = name.removeprefix("gradient_norm_"), norm.item()
            if new == 0 or not math.isfinite(new):
                continue
            self.norms[name] = DECAY * self.norms[name] + (1 - DECAY) * new if name in self.norms else new

    def state_dict(self) -> dict:
        return {"norms": dict(self.norms)}

    def load_state_dict(self, state: dict) -> None:
        self.norms = dict(state["norms"])
