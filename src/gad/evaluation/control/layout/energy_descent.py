"""Moving the initial noise down an energy, every sample for itself."""

from collections.abc import Callable

import torch

from gad.diffusion.noise import noise_low_frequency_part, turn_noise
from gad.diffusion.shapes import Latent, PerSample, expand_per_sample

Energy = Callable[[Latent], tuple[PerSample, PerSample]]
"""Noise to the energy per sample, and a number that stops a sample once it is small enough."""

Move = Callable[[Latent, Latent, float], Latent]
"""A noise, a direction to move it in and the share of a whole step, to the moved noise."""


def turning_descent_step(angle: float, low_frequency_size: int | None = None) -> Move:
    """Turn the noise on its own sphere, where N(0, I) has its mass: the step is the same for every model.

    With ``low_frequency_size`` only the part of the noise that is constant on the blocks of such a grid is turned, on a
    sphere of its own: detail can lower an energy without moving anything in the image.
    """

    def move(noise: Latent, towards: Latent, share: float) -> Latent:
        angles = torch.full((len(noise),), share * angle).to(noise)
        if low_frequency_size is None:
            return turn_noise(noise, towards, angles)
        low, low_towards = (noise_low_frequency_part(part, low_frequency_size) for part in (noise, towards))
        return noise - low + turn_noise(low, low_towards, angles)

    return move


def boxdiff_descent_step(step_size: float, *, keep_on_shell: bool) -> Move:
    """BoxDiff's step, as large as the gradient: how far it leads differs from model to model.

    With ``keep_on_shell`` the length of each noise stays, so that it stays likely under N(0, I).
    """

    def move(noise: Latent, towards: Latent, share: float) -> Latent:
        moved = noise + share * step_size * towards
        if not keep_on_shell:
            return moved
        return moved * expand_per_sample(noise.flatten(1).norm(dim=1) / moved.flatten(1).norm(dim=1), moved)

    return move


def descend_energy(energy: Energy, noise: Latent, move: Move, *, iterations: int, stop_below: float) -> Latent:
    """Noise of lower energy: moved against dE/dz at most ``iterations`` times, by sqrt(r_i) of a whole step.

    r falls from 1 to .5 (BoxDiff). A sample stays where its second number is ``stop_below`` or less. Samples do not
    mix: the batch changes nothing beyond rounding. Raises ValueError when a gradient is not finite.
    """
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
        noise = torch.where(moving[:, None, None, None], move(noise, -gradient, share**0.5), noise)
    return noise.detach()
