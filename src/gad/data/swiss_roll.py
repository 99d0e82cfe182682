"""The Swiss roll in the plane: a finite point set whose exact denoiser is the teacher (the paper's App. F)."""

import math

import torch
from torch import Tensor

from gad.config import Recipe
from gad.runtime.files import read_tensors
from gad.runtime.paths import stage_dir

TURNS = (1.5, 4.5)  # the Swiss roll's angle runs over these multiples of pi
SCALE = 1 / 9.0  # brings the points to about unit variance
ARCS = 16  # equal pieces of the angle, the modes that coverage counts


def make_swiss_roll(num_points: int, seed: int = 0) -> Tensor:
    """Swiss roll points ``[N, 2]``, float32, near unit variance: angle times (cos, sin), evenly along the arc."""
    uniform = torch.rand(num_points, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    low, high = (math.pi * turns for turns in TURNS)
    angle = (low**2 + uniform * (high**2 - low**2)).sqrt()  # arc length grows as angle squared
    points = angle[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)
    return (points * SCALE).float()


def distance_to_roll(x: Tensor, *, resolution: int = 4096) -> Tensor:
    """Distance of points ``[N, 2]`` to the Swiss roll's curve, ``[N]`` in data units (0 is on it; lower is better)."""
    low, high = (math.pi * turns for turns in TURNS)
    angle = torch.linspace(low, high, resolution, dtype=x.dtype)
    curve = SCALE * angle[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)
    return torch.cdist(x, curve).min(dim=1).values


def arc_of(x: Tensor, *, resolution: int = 4096) -> Tensor:
    """Which of the ``ARCS`` equal-probability pieces of the Swiss roll is nearest to each point, ``[N]`` int64."""
    low, high = (math.pi * turns for turns in TURNS)
    share = (torch.arange(resolution, dtype=x.dtype) + 0.5) / resolution
    angle = (low**2 + share * (high**2 - low**2)).sqrt()
    curve = SCALE * angle[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)
    return torch.cdist(x, curve).argmin(dim=1) * ARCS // resolution


def swiss_roll_teacher_points(settings: Recipe) -> dict[str, Tensor]:
    """The Swiss roll's points ``[N, 2]``, which are all that its teacher is made of."""
    path = stage_dir(settings.name, "teacher") / "points.safetensors"
    return {"data": read_tensors(path)["points"]} if path.exists() else {}
