"""What the control tasks are given: named maps from noise and prompts to data, and the judges."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gad.artifacts import EMOJI
from gad.sampling import sample
from gad.scores.clip import Clip, load_clip
from gad.scores.detector import Detector, load_detector
from gad.teachers.load import Model

Generate = Callable[[Tensor, list[str]], Tensor]
"""Noise ``[B, C, H, W]`` and prompts to images ``[B, 3, H, W]`` in [-1, 1], or to points ``[B, 2]``."""


@dataclass(frozen=True)
class Judges:
    """The emoji world's judges, trained on rendered truth."""

    clip: Clip
    detector: Detector


def load_judges() -> Judges:
    return Judges(load_clip(EMOJI / "judges" / "clip"), load_detector(EMOJI / "judges" / "detector"))


def generator_of(model: Model, *, num_steps: int, guidance_scale: float = 1.0, batch_size: int = 64) -> Generate:
    """The model as a function from noise and prompts to what is looked at; 0 guidance is unconditional."""
    denoise = model.guided(guidance_scale)

    @torch.no_grad()
    def generate(noise: Tensor, prompts: list[str]) -> Tensor:
        latents = []
        for part in torch.arange(len(noise)).split(batch_size):
            conditioning = model.condition([prompts[i] for i in part.tolist()])
            latents.append(sample(denoise, noise[part], conditioning, num_steps=num_steps)[-1])
        return model.decode(torch.cat(latents))

    return generate
