"""What the number format of a recipe does to its differences and its outputs, before anything runs."""

from collections.abc import Iterator

from gad.config import Recipe
from gad.diffusion.step_size import EPS, smallest_step_size
from gad.preflight.finding import Finding

SEEN = 0.01  # error of an element of x0, in standard deviations of the latent, from which on it is reported


def _dtypes(settings: Recipe) -> dict[str, str]:
    return {"noise_pairs.dtype": settings.noise_pairs.dtype, "student.dtype": settings.student.dtype}


def _growth(settings: Recipe) -> float:
    """How much a noise prediction's rounding grows in x0 = (x_t - sigma eps) / alpha at t = 1, where alpha is small.

    Of published teachers alone, whose schedules are known; 1 for others.
    """
    if not settings.teacher.pretrained:
        return 1.0
    import torch

    from gad.preflight.architectures import architecture_of  # here, since it imports diffusers

    try:
        schedule, kind = architecture_of(settings.teacher.pretrained).schedule
    except ValueError:
        return 1.0
    one = torch.ones(1)
    return (schedule.sigma(one) / schedule.alpha(one)).item() if kind == "eps" else 1.0


def _grown(growth: float) -> str:
    return f" grows {growth:.0f} times from eps to x0 at t = 1"


def check_rounding(settings: Recipe) -> Iterator[Finding]:
    """The smallest step h against the rounding of the dtypes that teacher and student compute in, as it is in x0."""
    growth, h = _growth(settings), min(settings.noise_pairs.steps)
    for name, dtype in _dtypes(settings).items():
        floor = growth * smallest_step_size(dtype)
        if h < floor:
            what = f"{name}: h = {h:g} drowns in the rounding of {dtype}" + (f", which{_grown(growth)}" * (growth > 1))
            yield Finding("warn", what, f"use h >= {floor:.2g}, or set {name}: float32")
        else:
            yield Finding("ok", f"{name} {dtype} carries h = {h:g}")


def check_amplification(settings: Recipe) -> Iterator[Finding]:
    """How far off an element of x0 is at t = 1 for the rounding of a noise prediction."""
    growth = _growth(settings)
    for name, dtype in _dtypes(settings).items():
        error = growth * EPS[dtype] / 2
        if growth > 1 and error > SEEN:
            what = f"{name}: the rounding of {dtype}{_grown(growth)}, to {error:.1g}"
            yield Finding("warn", what, f"set {name}: float32")
