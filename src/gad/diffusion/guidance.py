"""Denoisers under classifier-free guidance and negative prompts."""

from dataclasses import dataclass

import torch
from torch import nn

from gad.diffusion.conditioning import Conditioning, concatenate
from gad.diffusion.denoiser import Denoiser
from gad.diffusion.schedule import Schedule
from gad.diffusion.shapes import Latent, PerSample


class Guided:
    """Classifier-free guidance: x0_uncond + w (x0_cond - x0_uncond), the batch doubled once; w = 1 is conditional."""

    def __init__(self, denoiser: Denoiser, uncond: Conditioning, guidance_scale: float):
        self.denoiser = denoiser
        self.schedule = denoiser.schedule
        self.uncond = uncond  # conditioning of the empty prompt, a batch of one
        self.guidance_scale = guidance_scale

    def __call__(self, x_t: Latent, t: PerSample, conditioning: Conditioning | None) -> Latent:
        if self.guidance_scale == 1:
            return self.denoiser(x_t, t, conditioning)
        assert conditioning is not None, "guidance compares a prompt with the empty one"
        empty = self.uncond.repeated(len(conditioning))
        both = self.denoiser(x_t.repeat(2, 1, 1, 1), t.repeat(2), concatenate(empty, conditioning))
        uncond, cond = both.chunk(2)
        return uncond + self.guidance_scale * (cond - uncond)


def on_device(denoiser: Denoiser, device: torch.device | str) -> Denoiser:
    """A denoiser with its network, and its empty prompt, on ``device``."""
    if isinstance(denoiser, Guided):
        return Guided(on_device(denoiser.denoiser, device), denoiser.uncond.to(device), denoiser.guidance_scale)
    return denoiser.to(device) if isinstance(denoiser, nn.Module) else denoiser


@dataclass(frozen=True)
class Against:
    """Guidance away from one prompt per sample: x0(negative) + w (x0(prompt) - x0(negative))."""

    denoiser: Denoiser
    negatives: Conditioning
    guidance_scale: float

    @property
    def schedule(self) -> Schedule:
        return self.denoiser.schedule

    def __call__(self, x_t: Latent, t: PerSample, conditioning: Conditioning | None) -> Latent:
        assert conditioning is not None, "guidance compares a prompt with the negative one"
        both = concatenate(self.negatives, conditioning)
        negative, wanted = self.denoiser(x_t.repeat(2, 1, 1, 1), t.repeat(2), both).chunk(2)
        return negative + self.guidance_scale * (wanted - negative)
