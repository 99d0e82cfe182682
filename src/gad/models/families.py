"""The families of pipelines by their class: where the network is, how it is called, and which it cannot be."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gad.diffusion.conditioning import Conditioning
from gad.models.family import NEEDS_PROMPTS, Family
from gad.models.flux import FLUX
from gad.models.sd3 import SD3
from gad.models.sdxl import SDXL
from gad.models.token_encoding import encode_by_one_encoder, encode_masked_by_one_encoder

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import ModelMixin

GUIDANCE = "its network wants its guidance as an embedding"
INPUTS = {  # keys of a network's config under which it reads more than latents, times and prompts
    "time_cond_proj_dim": GUIDANCE,
    "guidance_embeds": GUIDANCE,
    "class_embed_type": "its network wants class labels",
    "num_class_embeds": "its network wants class labels",
    "addition_embed_type": "its network wants further embeddings",
    "encoder_hid_dim_type": "its network wants further embeddings",
}
READ_FROM_PROMPTS = "text_proj"  # the only kind of projection that takes the prompt embeddings as they are


def call_unet(network: nn.Module, x_t: Tensor, timestep: Tensor, conditioning: Conditioning | None) -> Tensor:
    assert conditioning is not None, NEEDS_PROMPTS
    return network(x_t, timestep, encoder_hidden_states=conditioning.prompt_embeds, return_dict=False)[0]


def call_pixart(network: "ModelMixin", x_t: Tensor, timestep: Tensor, conditioning: Conditioning | None) -> Tensor:
    assert conditioning is not None, NEEDS_PROMPTS
    added: dict[str, Tensor | None] = {"resolution": None, "aspect_ratio": None}
    if network.config.sample_size == 128:  # the 1024-px model is conditioned on its resolution
        height, width = (x_t.new_full((len(x_t), 1), 8 * side) for side in x_t.shape[-2:])  # no copy to wait for
        added = {"resolution": torch.cat([height, width], dim=1), "aspect_ratio": height / width}
    output = network(
        x_t,
        encoder_hidden_states=conditioning.prompt_embeds,
        encoder_attention_mask=conditioning.prompt_attention_mask,
        timestep=timestep,
        added_cond_kwargs=added,
        return_dict=False,
    )[0]
    return output[:, : x_t.shape[1]]  # the published model also predicts a variance, which samplers ignore


def call_sana(network: "ModelMixin", x_t: Tensor, timestep: Tensor, conditioning: Conditioning | None) -> Tensor:
    assert conditioning is not None, NEEDS_PROMPTS
    return network(
        x_t,
        encoder_hidden_states=conditioning.prompt_embeds,
        encoder_attention_mask=conditioning.prompt_attention_mask,
        timestep=timestep * network.config.timestep_scale,
        return_dict=False,
    )[0]


FAMILIES = {
    "StableDiffusionPipeline": Family("unet", call_unet, encode_by_one_encoder, "text_encoder", 77),
    "PixArtAlphaPipeline": Family(
        "transformer",
        call_pixart,
        encode_masked_by_one_encoder,
        "text_encoder",
        120,
        {"use_resolution_binning": False, "clean_caption": False},
        masked=True,
    ),
    "SanaPipeline": Family(
        "transformer",
        call_sana,
        encode_masked_by_one_encoder,
        "text_encoder",
        300,
        {"use_resolution_binning": False, "complex_human_instruction": None},
        masked=True,
    ),
    "StableDiffusionXLPipeline": SDXL,
    "StableDiffusion3Pipeline": SD3,
    "FluxPipeline": FLUX,
}


def family_by_name(name: object) -> Family:
    """The family of a pipeline class by its name. Raises ValueError, in one line, for a class that is none of them."""
    if not isinstance(name, str) or name not in FAMILIES:
        raise ValueError(f"{name} is not a pipeline class that gad can use; it can use {', '.join(FAMILIES)}")
    return FAMILIES[name]


def reads_its_guidance(network: nn.Module) -> bool:
    """Whether the guidance scale is an input of the network (distilled guidance), in place of two calls."""
    return bool(getattr(getattr(network, "config", None), "guidance_embeds", False))


def family_input_faults(family: Family, network: "ModelMixin", latent_channels: int | None) -> Iterator[str]:
    """Why a network cannot be sampled by what its family's call gives; nothing where it can.

    ``latent_channels`` are those of the autoencoder, where its config says them.
    """
    config = network.config
    for key, wants in INPUTS.items():
        value = config.get(key)
        if value not in (None, False, READ_FROM_PROMPTS, family.gives.get(key)):
            yield f"{wants} ({key}: {value!r}), which gad does not give; name one without, or a LoRA of its base"
    if latent_channels is not None and config.in_channels != latent_channels * family.pack**2:
        channels = f"in_channels: {config.in_channels}, the autoencoder's latents have {latent_channels}"
        yield f"its network wants further channels ({channels}), which gad does not give; name one without"


def family_latent_side(family: Family, config: dict, name: str) -> int:
    """The side of a network's square latents, from its config: a number, or a list of two equal ones; else the
    family's.

    Raises ValueError, in one line that begins with ``name``, for any other ``sample_size``.
    """
    size = config.get("sample_size", family.side)
    sides = [size, size] if isinstance(size, int) else size
    if isinstance(sides, list | tuple) and len(sides) == 2 and sides[0] == sides[1] and isinstance(sides[0], int):
        return sides[0]
    raise ValueError(f"{name}: its network's config has sample_size: {size!r}; gad needs one number, of square latents")
