"""What an emoji teacher learns from: encoded scenes and their tokenised captions."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gad.data.emoji import seeds
from gad.data.emoji.autoencoder import vae_training_images
from gad.data.emoji.scenes import Accept, make_scene_prompt
from gad.data.emoji.text_encoders import MAX_TOKENS
from gad.models.token_encoding import text_encoding_tokens

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import AutoencoderKL, DiffusionPipeline

Batch = tuple[Tensor, Tensor, Tensor]


@torch.no_grad()
def latent_set(
    vae: "AutoencoderKL",
    num_scenes: int,
    seed: int = seeds.TEACHER,
    batch_size: int = 128,
    accept: Accept | None = None,
) -> Float[Tensor, "N C H W"]:
    """Scaled posterior means of scenes 0 ... N-1, float16: 49152 of them take 100 MB."""
    parts = []
    for start in range(0, num_scenes, batch_size):
        images = vae_training_images(range(start, min(start + batch_size, num_scenes)), seed=seed, accept=accept)
        parts.append((vae.encode(images).latent_dist.mean * vae.config.scaling_factor).half())
    return torch.cat(parts).contiguous()


def latent_set_tokens(
    pipeline: "DiffusionPipeline", num_scenes: int, seed: int = seeds.TEACHER, accept: Accept | None = None
) -> tuple[Int[Tensor, "N L"], Int[Tensor, "N L"]]:
    """Token ids and masks of the captions of scenes 0 ... N-1."""
    captions = [make_scene_prompt(i, seed=seed, accept=accept).caption for i in range(num_scenes)]
    return text_encoding_tokens(pipeline.tokenizer, captions, MAX_TOKENS)


def latent_training_batches(
    pipeline: "DiffusionPipeline",
    latents: Float[Tensor, "N C H W"],
    batch_size: int,
    seed: int = seeds.TEACHER,
    accept: Accept | None = None,
) -> tuple[Callable[[torch.Generator], Batch], tuple[Tensor, Tensor]]:
    """A function that draws latents, token ids and masks of random scenes, and the tokenised empty prompt.

    ``latents``, ``seed`` and ``accept`` are those of :func:`latent_set`: caption i belongs to latent i.
    """
    ids, mask = latent_set_tokens(pipeline, len(latents), seed, accept)

    def batch(generator: torch.Generator) -> Batch:
        index = torch.randint(len(latents), (batch_size,), generator=generator)
        return latents[index].float(), ids[index], mask[index]

    return batch, text_encoding_tokens(pipeline.tokenizer, [""], MAX_TOKENS)
