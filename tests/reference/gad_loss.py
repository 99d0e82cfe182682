"""The response form of geometry-aware distillation, sample by sample and element by element.

L = (1 / d) sum_i (J_S v - J_T v)_i²
"""

import torch
from torch import Tensor


def gad_loss(student_jvp: Tensor, teacher_jvp: Tensor) -> Tensor:
    """The loss of each sample, ``[B]``."""
    losses = []
    for ours, theirs in zip(student_jvp, teacher_jvp, strict=True):
        total, count = torch.zeros((), dtype=ours.dtype), 0
        for a, b in zip(ours.flatten(), theirs.flatten(), strict=True):
            total = total + (a - b.item()) ** 2
            count += 1
        losses.append(total / count)
    return torch.stack(losses)
