"""The diffusers pipelines that a teacher or a student can be: their network, their latents, what they stand for."""

import inspect
from typing import TYPE_CHECKING

from gad.diffusion.denoiser import NetworkDenoiser
from gad.diffusion.schedule import FlowSchedule
from gad.models.families import family_by_name, family_input_faults, family_latent_side
from gad.models.family import Family
from gad.models.pipeline_schedule import flow_shift, pipeline_schedule
from gad.models.text_encoding import pipeline_prompt_tokens

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import DiffusionPipeline, ModelMixin


def pipeline_family(pipeline: "DiffusionPipeline") -> Family:
    """The family of a loaded pipeline. Raises ValueError for a class that is none of them."""
    return family_by_name(type(pipeline).__name__)


def pipeline_network(pipeline: "DiffusionPipeline") -> "ModelMixin":
    """The denoising network of a pipeline."""
    return getattr(pipeline, pipeline_family(pipeline).network)


def pipeline_sample_options(pipeline: "DiffusionPipeline", image_side: int) -> dict:
    """Arguments of the stock ``__call__`` beside prompt, steps and guidance for images of ``image_side`` pixels, where
    it would make others."""
    family = pipeline_family(pipeline)
    options, tokens = dict(family.sample_options), pipeline_prompt_tokens(pipeline)
    if family.tokens_option and tokens != family.max_tokens:
        options[family.tokens_option] = tokens
    if _stock_image_side(pipeline) != image_side:
        options |= {"height": image_side, "width": image_side}
    return options


def _stock_image_side(pipeline: "DiffusionPipeline") -> int:
    """Pixels on a side of the images that the stock ``__call__`` makes where no size is asked for."""
    stock = inspect.signature(type(pipeline).__call__).parameters["height"].default
    if stock is not None:  # SANA's is one number, whatever its network's config says
        return stock
    side = getattr(pipeline, "default_sample_size", None)
    if side is None:
        family, config = pipeline_family(pipeline), pipeline_network(pipeline).config
        side = family_latent_side(family, config, type(pipeline).__name__)
    return side * pipeline.vae_scale_factor


def pipeline_denoiser(pipeline: "DiffusionPipeline", *, side: int | None = None) -> NetworkDenoiser:
    """The pipeline's network as a denoiser; of a family with shifted times those of latents of ``side``, by default
    the network's own."""
    schedule, parameterisation = pipeline_schedule(pipeline.scheduler)
    family, network = pipeline_family(pipeline), pipeline_network(pipeline)
    if family.shifted and isinstance(schedule, FlowSchedule):
        side = side or family_latent_side(family, network.config, type(pipeline).__name__)
        schedule = FlowSchedule(flow_shift(pipeline.scheduler, family.image_tokens(network.config, side)))
    return NetworkDenoiser(network, family.call, schedule, parameterisation)


def check_pipeline_network(network: "ModelMixin", pipeline: "DiffusionPipeline", name: str) -> None:
    """Raise ValueError, in one line that begins with ``name``, for a network that reads what gad does not give."""
    family, channels = pipeline_family(pipeline), getattr(pipeline.vae.config, "latent_channels", None)
    for fault in family_input_faults(family, network, channels):
        raise ValueError(f"{name}: {fault}")
    if family.pixels not in (None, pipeline.vae_scale_factor):
        told = f"{family.pixels} pixels to a latent's side, its autoencoder has {pipeline.vae_scale_factor}"
        raise ValueError(f"{name}: its network reads its image's size at {told}; name a folder of one model")


def pipeline_latent_shape(pipeline: "DiffusionPipeline", name: str, *, side: int | None = None) -> tuple[int, int, int]:
    """Channels, height and width of the latents that a pipeline's network makes: of ``side``, or its own size.

    Raises ValueError, in one line that begins with ``name``, where its own are not square, or squares of latents do
    not part ``side``.
    """
    return network_latent_shape(pipeline_family(pipeline), pipeline_network(pipeline), name, side=side)


def network_latent_shape(
    family: Family, network: "ModelMixin", name: str, *, side: int | None = None
) -> tuple[int, int, int]:
    """The same of a network without its pipeline."""
    side = side or family_latent_side(family, network.config, name)
    square = family.pack * network.config.get("patch_size", 1)
    if side % square:
        raise ValueError(f"{name}: latents of side {side} do not part into the network's squares of side {square}")
    return family.latent_channels(network.config), side, side
