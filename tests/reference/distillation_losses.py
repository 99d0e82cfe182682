"""The losses of the three paradigms a second time, from their equations: sample by sample, element by element."""

import math

import torch
from torch import Tensor


def _elements(*tensors: Tensor):
    for rows in zip(*tensors, strict=True):
        yield list(zip(*(row.flatten() for row in rows), strict=True))


def distribution_matching(x0: Tensor, real: Tensor, fake: Tensor, *, kind: str, c: float = 1e-3) -> Tensor:
    """D(x0 - sg[x0 + real - fake]) / mean|sg x0 - real|."""
    losses = []
    for sample in _elements(x0, real, fake):
        total, scale = 0.0, 0.0
        for x, r, f in sample:
            error = x - (x.item() + r.item() - f.item())
            total = total + (0.5 * error**2 if kind == "mse" else torch.sqrt(error**2 + c**2) - c)
            scale += abs(x.item() - r.item())
        losses.append(total / scale)
    return torch.stack(losses)


def score_identity(x0: Tensor, real: Tensor, fake: Tensor, *, alpha: float) -> Tensor:
    """(y_T - y_F) ((y_T - x0) - alpha (y_T - y_F)) / mean|sg x0 - sg y_T|."""
    losses = []
    for sample in _elements(x0, real, fake):
        total = sum((r - f) * ((r - x) - alpha * (r - f)) for x, r, f in sample)
        losses.append(total / sum(abs(x.item() - r.item()) for x, r, _ in sample))
    return torch.stack(losses)


def discriminator(real: Tensor, fake: Tensor, misaligned: Tensor) -> Tensor:
    """-log D(real) - [log(1 - D(fake)) + log(1 - D(misaligned))] / 2, D the logistic function."""
    losses = []
    for sample in _elements(real, fake, misaligned):
        total = 0.0
        for r, f, m in sample:
            d = [1 / (1 + torch.exp(-logit)) for logit in (r, f, m)]
            total = total - torch.log(d[0]) - (torch.log(1 - d[1]) + torch.log(1 - d[2])) / 2
        losses.append(total / len(sample))
    return torch.stack(losses)


def importance(added: Tensor, mixed: Tensor) -> Tensor:
    """exp(-mean mixed² / 2) / exp(-mean added² / 2)."""
    weights = []
    for sample in _elements(added, mixed):
        powers = [sum(pair[i].item() ** 2 for pair in sample) / len(sample) for i in (0, 1)]
        weights.append(math.exp(-powers[1] / 2) / math.exp(-powers[0] / 2))
    return torch.tensor(weights, dtype=added.dtype)


def gad_released(student: Tensor, real: Tensor, uncond: Tensor, fake: Tensor, *, guidance: float) -> Tensor:
    """pseudo-Huber(ds - sg[ds + dT - dF + (w - 1)(dT - dU)]) / mean|sg ds - dT_guided|, c = 1e-3."""
    losses = []
    for sample in _elements(student, real, uncond, fake):
        total, scale = 0.0, 0.0
        for s, t, u, f in sample:
            guided = t.item() + (guidance - 1) * (t.item() - u.item())
            error = s - (s.item() + guided - f.item())
            total = total + torch.sqrt(error**2 + 1e-6) - 1e-3
            scale += abs(s.item() - guided)
        losses.append(total / scale)
    return torch.stack(losses)
