"""The forms of geometry-aware distillation and its controls, sample by sample and element by element."""

import torch
from reference.distillation_losses import elements
from torch import Tensor


def gad_response(student_jvp: Tensor, teacher_jvp: Tensor) -> Tensor:
    """The response form: (1 / d) sum_i (J_S v - sg J_T v)_i²."""
    losses = []
    for sample in elements(student_jvp, teacher_jvp):
        losses.append(sum((ours - theirs.item()) ** 2 for ours, theirs in sample) / len(sample))
    return torch.stack(losses)


def gad_score(partner: Tensor, fake: Tensor, real: Tensor) -> Tensor:
    """(1 / d) sum_i sg(J_F v - J_T v)_i partner_i: the partner is x_t in Eq. (9), J_S v in its fixed form."""
    losses = []
    for sample in elements(partner, fake, real):
        losses.append(sum((f.item() - r.item()) * p for p, f, r in sample) / len(sample))
    return torch.stack(losses)


def gad_released(student: Tensor, real: Tensor, uncond: Tensor, fake: Tensor, *, guidance: float) -> Tensor:
    """pseudo-Huber(ds - sg[ds + dT - dF + (w - 1)(dT - dU)]) / mean|sg ds - dT_guided|, c = 1e-3."""
    losses = []
    for sample in elements(student, real, uncond, fake):
        total, scale = 0.0, 0.0
        for s, t, u, f in sample:
            guided = t.item() + (guidance - 1) * (t.item() - u.item())
            error = s - (s.item() + guided - f.item())
            total = total + torch.sqrt(error**2 + 1e-6) - 1e-3
            scale += abs(s.item() - guided)
        losses.append(total / scale)
    return torch.stack(losses)


def diversity(student_jvp: Tensor, *, power: float) -> Tensor:
    """-min(sqrt((1 / d) sum_i (J_S v)_i² / p), 3)."""
    losses = []
    for sample in elements(student_jvp):
        size = torch.sqrt(sum(ours**2 for (ours,) in sample) / len(sample) / power)
        losses.append(-size if size.item() < 3 else size.new_tensor(-3.0))
    return torch.stack(losses)


def random_gradient(student_jvp: Tensor, teacher_jvp: Tensor, r: Tensor, *, bounded: bool = False) -> Tensor:
    """(2 / d) sum_i sg(rho_i) (J_S v)_i, where rho = |J_S v - J_T v| r / |r|; bounded: |rho| is at most |J_T v|."""
    losses = []
    for sample in elements(student_jvp, teacher_jvp, r):
        gap = sum((ours.item() - theirs.item()) ** 2 for ours, theirs, _ in sample) ** 0.5
        size = sum(theirs.item() ** 2 for _, theirs, _ in sample) ** 0.5
        gap = size if bounded and size < gap else gap
        length = sum(along.item() ** 2 for _, _, along in sample) ** 0.5
        losses.append(2 / len(sample) * sum(gap * along.item() / length * ours for ours, _, along in sample))
    return torch.stack(losses)
