"""Noises, directions and prompts at which students are validated while they train, and a map's outputs there."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gad.config import NoisePairsConfig, ValidationConfig
from gad.config.sample_ids import VALIDATION, task_sample_ids
from gad.data.validation_prompts import ValidationPrompts, validation_prompts
from gad.diffusion.conditioning import Conditioning
from gad.diffusion.denoiser import Denoiser, NetworkDenoiser
from gad.diffusion.guidance import unguided
from gad.diffusion.noise import Direction, draw_direction, draw_noise
from gad.diffusion.sampling import sample
from gad.models.model import Model
from gad.runtime.cache import Result
from gad.runtime.devices import own_device


@dataclass(frozen=True)
class ValidationSet:
    """Validation noises, ``seeds_per_prompt`` in a row for each prompt, a direction of each kind, and encoded prompts.

    Teacher and students are sampled as in the noise pairs of the configuration ``pairs``.
    """

    config: ValidationConfig
    pairs: NoisePairsConfig
    noise: Tensor
    directions: dict[Direction, Tensor]
    prompts: ValidationPrompts | None
    conditioning: Conditioning | None  # one for each noise

    def outputs(self, denoise: Denoiser, num_steps: int, part: slice = slice(None)) -> Result:
        """The noise-to-image map at the noises of ``part`` and its differences along each direction, at step h.

        It is sampled where the network is.
        """
        noise, h, device = self.noise[part], self.config.perturbation_scale, _device_of(denoise)
        conditioning = None if self.conditioning is None else self.conditioning[part].to(device)
        moved = [noise, *(noise + h * direction[part] for direction in self.directions.values())]
        x0, *others = (sample(denoise, z.to(device), conditioning, num_steps=num_steps)[-1].cpu() for z in moved)
        return {"x0": x0, "responses": torch.stack([(other - x0) / h for other in others])}

    @property
    def parts(self) -> Iterator[slice]:
        """The noises in batches of the noise pairs' size."""
        size = self.pairs.batch_size
        return (slice(start, start + size) for start in range(0, len(self.noise), size))

    @property
    def shown(self) -> list[int]:
        """The noises of the image grids: two of each prompt, then two more."""
        seeds, count = self.config.seeds_per_prompt, self.config.num_noises
        order = sorted(range(count), key=lambda i: (i % seeds // 2, i // seeds, i % 2))
        return order[: self.config.images]


def _device_of(denoise: Denoiser) -> torch.device:
    """Where a denoiser's network is; the CPU without one."""
    network = unguided(denoise)
    return next(network.parameters()).device if isinstance(network, NetworkDenoiser) else torch.device("cpu")


def validation_set(teacher: Model, pairs: NoisePairsConfig, config: ValidationConfig, device: str) -> ValidationSet:
    """The set of a recipe, the same for every student. Low-frequency directions and prompts are for images alone."""
    ids = task_sample_ids(VALIDATION, config.num_noises)
    kinds: list[Direction] = ["isotropic"] if teacher.pipeline is None else ["isotropic", "low_frequency"]
    shape, seed = teacher.latent_shape, pairs.seed
    directions = {kind: draw_direction(ids, shape, seed=seed, kind=kind) for kind in kinds}
    noise = draw_noise(ids, shape, seed=seed)
    if teacher.pipeline is None:
        return ValidationSet(config, pairs, noise, directions, None, None)
    prompts = validation_prompts(config.num_prompts, pairs)
    with teacher.text_encoder_on(own_device(device)):
        encoded = teacher.condition(prompts.captions)
    assert encoded is not None, "pipelines read prompts"
    repeated = encoded[torch.arange(config.num_prompts).repeat_interleave(config.seeds_per_prompt)]
    return ValidationSet(config, pairs, noise, directions, prompts, repeated)


@dataclass(frozen=True)
class Outputs:
    """A map at the validation noises: latents ``[N, C, H, W]``, responses ``[K, N, C, H, W]``, and what is decoded."""

    x0: Tensor
    responses: Tensor
    decoded: Tensor  # images [N, 3, H, W], or points [N, 2]


def decode_validation_set(parts: list[Result], teacher: Model) -> Outputs:
    """Batches of :meth:`ValidationSet.outputs` together, decoded by the teacher's autoencoder."""
    x0 = torch.cat([part["x0"] for part in parts])
    return Outputs(x0, torch.cat([part["responses"] for part in parts], dim=1), teacher.decode(x0))
