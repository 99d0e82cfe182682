"""Gradient descent on an energy in the initial noise, every sample for itself."""

from collections.abc import Callable

import torch

from gad.schedule import expand
from gad.shapes import Latent, PerSample

Energy = Callable[[Latent], tuple[PerSample, PerSample]]
"""Noise to the energy per sample, and a number that stops a sample once it is small enough."""


def optimise_noise(
    energy: Energy, noise: Latent, *, step_size: float, iterations: int, stop_below: float, keep_on_shell: bool
) -> Latent:
    """Noise of lower energy: z <- z - s_i dE/dz, at most ``iterations`` times.

    s_i = step_size sqrt(r_i), r from 1 to .5 (BoxDiff). A sample stays where its second number is ``stop_below`` or
    less. With ``keep_on_shell`` each z keeps the length that it was drawn with, so that it stays likely under N(0, I).
    Samples do not mix: the batch changes nothing beyond rounding. Raises ValueError when a gradient is not finite.
    """
    length = noise.flatten(1).norm(dim=1)
    for share in torch.linspace(1, 0.5, iterations).tolist():
        with torch.enable_grad():
            z = noise.detach().requires_grad_(True)
            value, worst = energy(z)
            (gradient,) = torch.autograd.grad(value.sum(), z)  # each energy depends on its own noise only
        if not gradient.isfinite().all():
            raise ValueError("the energy's gradient in the noise is not finite")
        moving = worst.detach() > stop_below
        if not moving.any():
            break
        moved = noise - step_size * share**0.5 * gradient
        if keep_on_shell:
            moved = moved * expand(length / moved.flatten(1).norm(dim=1), moved)
        noise = torch.where(moving[:, None, None, None], moved, noise)
    return noise.detach()
