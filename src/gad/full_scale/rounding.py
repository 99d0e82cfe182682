"""What the number format of a recipe does to its differences and to its answers, before anything runs."""

from collections.abc import Iterator

import torch

from gad.config import Recipe
from gad.full_scale.architectures import architecture_of
from gad.full_scale.finding import Finding
from gad.response import check_step

SEEN = 0.01  # error of an element of x0, in standard deviations of the latent, from which on it is told


def _dtypes(settings: Recipe) -> dict[str, str]:
    return {"noise_pairs.dtype": settings.noise_pairs.dtype, "student.dtype": settings.student.dtype}


def check_rounding(settings: Recipe) -> Iterator[Finding]:
    """The smallest step h against the rounding of the dtypes that teacher and student compute in."""
    for name, dtype in _dtypes(settings).items():
        try:
            for h in settings.noise_pairs.steps:
                check_step(h, getattr(torch, dtype))
        except ValueError as error:
            what, _, do = str(error).rpartition("; ")
            yield Finding("warn", f"{name}: {what}", f"{do}, or set {name}: float32")
            continue
        yield Finding("ok", f"{name} {dtype} carries h = {min(settings.noise_pairs.steps):g}")


def check_amplification(settings: Recipe) -> Iterator[Finding]:
    """How much of a noise prediction's rounding is in x0 = (x_t - sigma eps) / alpha at t = 1, where alpha is small.

    Of published teachers alone, whose schedules are known.
    """
    try:
        schedule, kind = architecture_of(settings.teacher.pretrained or "").schedule
    except ValueError:
        return
    if kind != "eps":
        return
    one = torch.ones(1)
    factor = (schedule.sigma(one) / schedule.alpha(one)).item()
    for name, dtype in _dtypes(settings).items():
        error = factor * torch.finfo(getattr(torch, dtype)).eps / 2
        if error > SEEN:
            what = f"{name}: the rounding of {dtype} grows {factor:.0f} times from eps to x0 at t = 1, to {error:.1g}"
            yield Finding("warn", what, f"set {name}: float32")
