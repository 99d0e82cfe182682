"""Maps whose derivatives are taken: from the initial noise to x0, and one call of a network."""

from collections.abc import Callable

import torch
from torch import Tensor

from gad.diffusion.conditioning import Conditioning
from gad.diffusion.denoiser import Denoiser
from gad.diffusion.jvp import Map
from gad.diffusion.sampling import sample


def noise_to_image_map(
    denoise: Denoiser, conditioning: Conditioning | None, *, num_steps: int
) -> Callable[[Tensor], Tensor]:
    """The map from initial noise to x0 through all steps."""
    return lambda noise: sample(denoise, noise, conditioning, num_steps=num_steps)[-1]


def single_call_map(denoise: Denoiser, t: float, conditioning: Conditioning | None) -> Map:
    """The map from x_t to the network's x0 at one time."""
    return lambda x_t: denoise(x_t, torch.full((len(x_t),), t, dtype=x_t.dtype, device=x_t.device), conditioning)
