"""Denoisers under guidance: classifier-free, away from the empty prompt or from negative prompts, or as an input."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gad.diffusion.conditioning import Conditioning, concatenate_conditioning
from gad.diffusion.denoiser import Denoiser
from gad.diffusion.shapes import Latent, PerSample


def guided_output(
    predict: Callable[[Latent, Conditioning], Tensor],
    x_t: Latent,
    conditioning: Conditioning,
    uncond: Conditioning | None,
    guidance_scale: float,
) -> Tensor:
    """predict(x_t, uncond) + w (predict(x_t, conditioning) - predict(x_t, uncond)) (Ho and Salimans, 2022).

    The batch is doubled once; w = 1 is the conditional prediction alone. ``uncond`` is one prompt for all samples, or
    one for each.
    """
    if guidance_scale == 1:
        return predict(x_t, conditioning)
    assert uncond is not None, "guidance needs the encoded empty prompt"
    both = concatenate_conditioning(uncond.repeated(len(x_t)), conditioning)
    away, towards = predict(x_t.repeat(2, 1, 1, 1), both).chunk(2)
    return away + guidance_scale * (towards - away)


class Guided:
    """A denoiser under :func:`guided_output`."""

    def __init__(self, denoiser: Denoiser, uncond: Conditioning, guidance_scale: float):
        self.denoiser = denoiser
        self.schedule = denoiser.schedule
        self.uncond = uncond  # of the empty prompt, a batch of one, or of a negative prompt for each sample
        self.guidance_scale = guidance_scale

    def __call__(self, x_t: Latent, t: PerSample, conditioning: Conditioning | None) -> Latent:
        assert conditioning is not None, "guidance compares a prompt with another one"

        def predict(x: Latent, prompts: Conditioning) -> Latent:
            return self.denoiser(x, t.repeat(len(x) // len(t)), prompts)

        return guided_output(predict, x_t, conditioning, self.uncond, self.guidance_scale)


class GuidedByInput:
    """A denoiser whose network reads the guidance scale as an input, one call for both: distilled guidance."""

    def __init__(self, denoiser: Denoiser, guidance_scale: float):
        self.denoiser = denoiser
        self.schedule = denoiser.schedule
        self.guidance_scale = guidance_scale

    def __call__(self, x_t: Latent, t: PerSample, conditioning: Conditioning | None) -> Latent:
        assert conditioning is not None, "a network that reads its guidance reads prompts"
        return self.denoiser(x_t, t, conditioning.guided_by(self.guidance_scale))


def unguided(denoiser: Denoiser) -> Denoiser:
    """The denoiser under its guidance, or itself where it has none."""
    return denoiser.denoiser if isinstance(denoiser, Guided | GuidedByInput) else denoiser


def guided_alike(denoiser: Denoiser, like: Denoiser) -> Denoiser:
    """``denoiser`` under the guidance that ``like`` is under, if it is under any."""
    if isinstance(like, GuidedByInput):
        return GuidedByInput(denoiser, like.guidance_scale)
    return Guided(denoiser, like.uncond, like.guidance_scale) if isinstance(like, Guided) else denoiser


def guided_denoiser_on_device(denoiser: Denoiser, device: torch.device | str) -> Denoiser:
    """A denoiser with its network, and its empty prompt, on ``device``."""
    if isinstance(denoiser, Guided):
        return Guided(
            guided_denoiser_on_device(denoiser.denoiser, device), denoiser.uncond.to(device), denoiser.guidance_scale
        )
    if isinstance(denoiser, GuidedByInput):
        return GuidedByInput(guided_denoiser_on_device(denoiser.denoiser, device), denoiser.guidance_scale)
    return denoiser.to(device) if isinstance(denoiser, nn.Module) else denoiser
