"""Models under a name, as analyses and control tasks sample them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gad.config import Sampling
from gad.diffusion.denoiser import Recomputed
from gad.diffusion.sampling import sample
from gad.models.external_sampler import ExternalSampler
from gad.models.model import Model

TEACHER = "teacher"

NamedStudent = tuple[str, int, Model]
"""Variant, seed and model."""


@dataclass(frozen=True)
class Sampler:
    """A model under a name, with how it is sampled: noise and prompts go in, images or points come out."""

    name: str  # of the variant, or "teacher"
    seed: int
    model: Model
    num_steps: int
    guidance_scale: float = 1.0  # 1 is plain; with empty prompts that is the unconditional prediction
    batch_size: int = 64  # samples at once; does not change results beyond rounding
    recompute: bool = False  # calls, for their gradient: slower, but of a trajectory's graph one call is held

    def phi(self, prompts: Sequence[str]) -> Callable[[Tensor], Tensor]:
        """The differentiable map from noise ``[B, C, H, W]`` to images ``[B, 3, H, W]`` in [-1, 1] or points ``[B, 2]``
        under these prompts."""
        latents = self._latents(prompts)
        return lambda noise: self.model.images(latents(noise))

    def _latents(self, prompts: Sequence[str]) -> Callable[[Tensor], Tensor]:
        """The map from noise to x0."""
        denoise, conditioning = self.model.guided(self.guidance_scale), self.model.condition(list(prompts))
        denoise = Recomputed(denoise) if self.recompute else denoise
        return lambda noise: sample(denoise, noise, conditioning, num_steps=self.num_steps)[-1]

    @torch.no_grad()
    def generate(self, noise: Tensor, prompts: Sequence[str]) -> Tensor:
        """What the model makes of each noise under its prompt, ``batch_size`` at a time."""
        parts = torch.arange(len(noise)).split(self.batch_size)
        made = (self._latents([prompts[i] for i in part.tolist()])(noise[part]) for part in parts)
        return torch.cat([self.model.decode(latents) for latents in made])


def num_sampler_steps(model: Model, sampling: Sampling) -> int:
    """Steps of a student: the recipe's, or one call of a model that brings its own sampler."""
    return 1 if isinstance(model.denoiser, ExternalSampler) else sampling.student_steps


def samplers_of_models(
    teacher: Model, students: Iterable[NamedStudent], sampling: Sampling, *, batch_size: int = 64
) -> list[Sampler]:
    """The teacher first, with its own steps and guidance, then every student."""
    first = Sampler(TEACHER, 0, teacher, sampling.teacher_steps, sampling.guidance_scale, batch_size)
    others = [(name, seed, model, num_sampler_steps(model, sampling)) for name, seed, model in students]
    return [first, *(Sampler(*other, batch_size=batch_size) for other in others)]
