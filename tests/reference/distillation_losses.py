"""The losses of the paradigms a second time, from their equations: sample by sample, element by element."""

import torch
from torch import Tensor


def elements(*tensors: Tensor):
    """For each sample the list of its elements, those of all tensors side by side."""
    for rows in zip(*tensors, strict=True):
        yield list(zip(*(row.flatten() for row in rows), strict=True))


def matching(x0: Tensor, target: Tensor, *, kind: str) -> Tensor:
    """(1 / d) sum_i (x0 - sg target)²; smooth_l1: |gap| - 1 / 2 instead of gap² / 2 where |gap| is above 1."""
    losses = []
    for sample in elements(x0, target):
        total = 0.0
        for x, aim in sample:
            gap = x - aim.item()
            if kind == "mse":
                total = total + gap * gap
            elif -1 < gap.item() < 1:
                total = total + gap * gap / 2
            else:
                total = total + (gap if gap.item() > 0 else -gap) - 0.5
        losses.append(total / len(sample))
    return torch.stack(losses)


def distribution_matching(x0: Tensor, real: Tensor, fake: Tensor, *, kind: str, c: float = 1e-3) -> Tensor:
    """D(x0 - sg[x0 + real - fake]) / mean|sg x0 - real|."""
    losses = []
    for sample in elements(x0, real, fake):
        total, scale = 0.0, 0.0
        for x, r, f in sample:
            error = x - (x.item() + r.item() - f.item())
            total = total + (0.5 * error**2 if kind == "mse" else torch.sqrt(error**2 + c**2) - c)
            scale += abs(x.item() - r.item())
        losses.append(total / scale)
    return torch.stack(losses)


def fake_score(prediction: Tensor, x0: Tensor, weight: Tensor) -> Tensor:
    """weight (1 / d) sum_i (x0_F - sg x0)²."""
    losses = []
    for sample, w in zip(elements(prediction, x0), weight, strict=True):
        losses.append(w * sum((p - x.item()) ** 2 for p, x in sample) / len(sample))
    return torch.stack(losses)


def score_identity(x0: Tensor, real: Tensor, fake: Tensor, *, alpha: float) -> Tensor:
    """(y_T - y_F) ((y_T - x0) - alpha (y_T - y_F)) / mean|sg x0 - sg y_T|."""
    losses = []
    for sample in elements(x0, real, fake):
        total = sum((r - f) * ((r - x) - alpha * (r - f)) for x, r, f in sample)
        losses.append(total / sum(abs(x.item() - r.item()) for x, r, _ in sample))
    return torch.stack(losses)


def discriminator(real: Tensor, fake: Tensor, misaligned: Tensor | None = None) -> Tensor:
    """-log D(real) - [log(1 - D(fake)) + log(1 - D(misaligned))] / 2, D the logistic function; or the fakes alone."""
    losses = []
    for sample in elements(real, fake, fake if misaligned is None else misaligned):
        total = 0.0
        for r, f, m in sample:
            d = [1 / (1 + torch.exp(-logit)) for logit in (r, f, m)]
            total = total - torch.log(d[0]) - (torch.log(1 - d[1]) + torch.log(1 - d[2])) / 2
        losses.append(total / len(sample))
    return torch.stack(losses)


def generator(fake: Tensor) -> Tensor:
    """-log D(fake), D the logistic function."""
    losses = []
    for sample in elements(fake):
        losses.append(-sum(torch.log(1 / (1 + torch.exp(-logit))) for (logit,) in sample) / len(sample))
    return torch.stack(losses)


def importance(added: Tensor, mixed: Tensor) -> Tensor:
    """exp(-mean mixed² / 2) / exp(-mean added² / 2)."""
    weights = []
    for sample in elements(added, mixed):
        powers = [sum(pair[i] ** 2 for pair in sample) / len(sample) for i in (0, 1)]
        weights.append(torch.exp(-powers[1] / 2) / torch.exp(-powers[0] / 2))
    return torch.stack(weights)


def min_snr(t: Tensor, *, schedule: str, cap: float) -> Tensor:
    """min(SNR_t, cap), where SNR is 1 / tan²(pi t / 2) on the cosine schedule and ((1 - t) / t)² on the flow's."""
    weights = []
    for time in t:
        snr = 1 / torch.tan(torch.pi * time / 2) ** 2 if schedule == "cosine" else ((1 - time) / time) ** 2
        weights.append(snr if snr.item() < cap else torch.tensor(cap, dtype=t.dtype))
    return torch.stack(weights)
