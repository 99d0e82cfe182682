"""The diffusers pipelines that a teacher or a student can be: loading, checking, saving, and what they stand for."""

import importlib
import inspect
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from gad.diffusion.denoiser import NetworkDenoiser
from gad.diffusion.schedule import FlowSchedule
from gad.models.families import family_by_name, family_input_faults, family_latent_side
from gad.models.family import Family
from gad.models.pipeline_schedule import flow_shift, pipeline_schedule
from gad.models.saved_folders import make_saved_folder_portable
from gad.models.text_encoding import (
    TEXT_ENCODERS,
    pipeline_prompt_tokens,
    pipeline_text_encoders,
    tokenizer_name,
)
from gad.models.weights import load_whole_weights, one_line, weights_library_messages
from gad.runtime.atomic import atomic_write_path
from gad.runtime.paths import project_path

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import DiffusionPipeline, ModelMixin
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


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


def pipeline_folder(source: str | Path, *, revision: str | None = None, fetch: bool = True) -> Path:
    """The folder of a pipeline, absolute or seen from the project's root; a hub name is fetched (or only looked up in
    the hub's cache, unless ``fetch``) at ``revision``.

    Raises ValueError, in one line, when there is none.
    """
    from diffusers import DiffusionPipeline  # here, since it takes seconds

    folder = project_path(str(source))
    if isinstance(source, Path) or folder.is_dir() or source.startswith((".", "/", "~")):
        if not (folder / "model_index.json").is_file():  # diffusers would fetch it
            raise ValueError(f"cannot load a diffusers pipeline from {source}: it holds no model_index.json")
        return folder
    try:
        options = {"revision": revision, "use_safetensors": True, "local_files_only": not fetch}
        return Path(DiffusionPipeline.download(source, **options))
    except Exception as error:  # diffusers and the hub raise many kinds
        raise ValueError(f"cannot load a diffusers pipeline from {source}: {one_line(error)}") from error


def load_pipeline_index(source: str | Path, *, revision: str | None = None) -> dict:
    """A pipeline's index, from a folder or the hub. Raises ValueError, in one line, for none, and for another class."""
    from diffusers import DiffusionPipeline  # here, since it takes seconds

    try:
        index = DiffusionPipeline.load_config(source, **({"revision": revision} if revision else {}))
    except OSError as error:
        fetch = "make doctor RECIPE=... names the command that fetches it"
        raise ValueError(f"there is no diffusers pipeline at {source}, here or on a hub in reach: {fetch}") from error
    family_by_name(index.get("_class_name"))
    return index


def load_pipeline(
    source: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    revision: str | None = None,
    shapes_only: bool = False,
    fetch: bool = True,
    **parts: nn.Module,
) -> "DiffusionPipeline":
    """A diffusers pipeline from a local folder or hub name (at ``revision``), in ``dtype``, frozen, safetensors only.

    ``parts`` (``vae=...``) are taken as they are and not read. With ``shapes_only`` its networks are on the device
    "meta": all the same checks, but no weight is read. Unless ``fetch`` a hub name is only looked up in its cache.
    Raises ValueError, in one line, when the folder is missing or broken, holds a pipeline of another class, a network
    whose weights are not whole, or one that reads more than latents, timesteps and prompts.
    """
    from diffusers import DiffusionPipeline  # here, since it takes seconds

    folder = pipeline_folder(source, revision=revision, fetch=fetch)
    try:
        index = load_pipeline_index(folder)
        family = family_by_name(index["_class_name"])
        for name, kind in _networks_of(index).items():
            if name not in parts:
                parts[name] = _load_network(kind, folder, name, dtype=dtype, shapes_only=shapes_only)
        with weights_library_messages():
            pipeline = DiffusionPipeline.from_pretrained(
                folder, dtype=dtype, use_safetensors=True, **_left_out_readers(index) | parts
            )
    except Exception as error:  # diffusers raises many kinds for a broken folder
        raise ValueError(f"cannot load a diffusers pipeline from {source}: {one_line(error)}") from error
    pipeline.set_progress_bar_config(disable=True)
    for module in pipeline.components.values():
        if isinstance(module, nn.Module):
            module.eval().requires_grad_(False)
    check_pipeline_network(getattr(pipeline, family.network), pipeline, str(source))
    _check_readers(pipeline, family, source, folder)
    return pipeline


def _check_readers(pipeline: "DiffusionPipeline", family: Family, source: str | Path, folder: Path) -> None:
    """Raise ValueError, in one line, for a text encoder that its family needs and is missing, or one without words."""
    encoders = pipeline_text_encoders(pipeline)
    for name in (name for name in family.text_encoders if name not in encoders):
        raise ValueError(f"{source}: there is no {name}, without which a {type(pipeline).__name__} reads no prompts")
    for name, encoder in encoders.items():
        _check_tokenizer(getattr(pipeline, tokenizer_name(name)), tokenizer_name(name), encoder, name, folder)


def _check_tokenizer(
    tokenizer: "PreTrainedTokenizerBase | None", name: str, encoder: "PreTrainedModel", reader: str, folder: Path
) -> None:
    """Raise ValueError for a tokenizer that is missing, or without its words, which transformers takes for an empty
    one, or of another text encoder."""
    if tokenizer is None:
        raise ValueError(f"{folder}: there is a {reader} and no {name}; fetch both of one model")
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
        raise ValueError(f"cannot load a diffusers pipeline from {folder}: the {name} has no words; fetch it again")
    known = encoder.config.vocab_size
    if len(tokenizer) > known:
        raise ValueError(f"{folder}: {name} has {len(tokenizer)} words, {reader} {known}; fetch both of one model")


def _networks_of(index: dict) -> "dict[str, type[ModelMixin] | type[PreTrainedModel]]":
    """The classes of a pipeline's networks by their names in its index, as diffusers finds them."""
    import diffusers  # here, since it takes seconds
    from transformers import PreTrainedModel

    found = {}
    for name, entry in index.items():
        if isinstance(entry, list | tuple) and len(entry) == 2 and all(isinstance(item, str) for item in entry):
            library, kind_name = entry
            module = getattr(diffusers.pipelines, library, None) or importlib.import_module(library)
            kind = getattr(module, kind_name, None)  # None: a name that only the pipeline's loader knows
            if isinstance(kind, type) and issubclass(kind, diffusers.ModelMixin | PreTrainedModel):
                found[name] = kind
    return found


def _left_out_readers(index: dict) -> dict[str, None]:
    """The text encoders and tokenizers that an index names as left out, which diffusers wants to be told again."""
    readers = [name for encoder in TEXT_ENCODERS for name in (encoder, tokenizer_name(encoder))]
    return {name: None for name in readers if name in index and not any(index[name] or ())}


def _load_network(kind: type, folder: Path, name: str, *, dtype: torch.dtype, shapes_only: bool) -> nn.Module:
    try:
        return load_whole_weights(
            kind, folder, shapes_only=shapes_only, subfolder=name, use_safetensors=True, dtype=dtype
        )
    except ValueError as error:
        raise ValueError(f"{name}: {one_line(error)}") from error


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


def check_teacher_pipeline(folder: Path, *, side: int | None = None) -> None:
    """All that a teacher's folder can be refused for, found out without reading its weights.

    Raises ValueError, in one line, as :func:`load_pipeline` and :func:`pipeline_latent_shape` do.
    """
    pipeline_latent_shape(load_pipeline(folder, shapes_only=True), str(folder), side=side)


def save_diffusers_pipeline(pipeline: "DiffusionPipeline", folder: Path) -> None:
    """Write a pipeline as a diffusers folder, whole or not at all, that is the same on every machine and runs as stock
    loading brings it back."""
    with atomic_write_path(folder) as partial:
        pipeline.save_pretrained(partial)
        make_saved_folder_portable(partial)
