"""The three families of diffusers pipelines that a teacher or a student can be: SD UNet, PixArt DiT, SANA flow DiT."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from gad.diffusion.denoiser import NetworkDenoiser
from gad.diffusion.schedule import FlowSchedule, Parameterisation, Schedule, TableSchedule
from gad.models.families import Family, family_by_name, family_input_faults, family_latent_side
from gad.models.saved_folders import make_saved_folder_portable
from gad.models.weights import load_whole_weights, one_line, weights_library_messages
from gad.runtime.atomic import atomic_write_path
from gad.runtime.paths import project_path

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import DiffusionPipeline, ModelMixin, SchedulerMixin
    from transformers import PreTrainedModel

_PARAMETERISATIONS: dict[str, Parameterisation] = {
    "epsilon": "eps",
    "v_prediction": "v",
    "sample": "x0",
    "flow_prediction": "flow",
}


def pipeline_family(pipeline: "DiffusionPipeline") -> Family:
    """The family of a loaded pipeline. Raises ValueError for a class that is none of them."""
    return family_by_name(type(pipeline).__name__)


def pipeline_schedule(scheduler: "SchedulerMixin") -> tuple[Schedule, Parameterisation]:
    """The noise schedule and parameterisation that a diffusers scheduler stands for."""
    kind = scheduler.config.get("prediction_type", "flow_prediction")
    if "FlowMatch" in type(scheduler).__name__ or kind == "flow_prediction":
        return FlowSchedule(), "flow"
    return TableSchedule(scheduler.alphas_cumprod.float()), _PARAMETERISATIONS[kind]


def pipeline_stock_scheduler(pipeline: "DiffusionPipeline") -> "SchedulerMixin":
    """The stock scheduler that visits our times: DDIM from the last time on, or for flows Euler without a shift.

    A hub pipeline's own one may be of another order, shift its times, or call the network at t = 0 in a single step.
    """
    from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler  # here, since it takes seconds

    config = pipeline.scheduler.config
    if isinstance(pipeline_schedule(pipeline.scheduler)[0], FlowSchedule):
        return FlowMatchEulerDiscreteScheduler(num_train_timesteps=config.num_train_timesteps, shift=1.0)
    options = {"timestep_spacing": "trailing", "clip_sample": False, "set_alpha_to_one": True}
    return DDIMScheduler.from_config(config, **options)


def pipeline_network(pipeline: "DiffusionPipeline") -> "ModelMixin":
    """The denoising network of a pipeline."""
    return getattr(pipeline, pipeline_family(pipeline).network)


def pipeline_denoiser(pipeline: "DiffusionPipeline") -> NetworkDenoiser:
    """The pipeline's network as a denoiser."""
    schedule, parameterisation = pipeline_schedule(pipeline.scheduler)
    return NetworkDenoiser(pipeline_network(pipeline), pipeline_family(pipeline).call, schedule, parameterisation)


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
            pipeline = DiffusionPipeline.from_pretrained(folder, dtype=dtype, use_safetensors=True, **parts)
    except Exception as error:  # diffusers raises many kinds for a broken folder
        raise ValueError(f"cannot load a diffusers pipeline from {source}: {one_line(error)}") from error
    pipeline.set_progress_bar_config(disable=True)
    for module in pipeline.components.values():
        if isinstance(module, nn.Module):
            module.eval().requires_grad_(False)
    check_pipeline_network(getattr(pipeline, family.network), pipeline, str(source))
    _check_tokenizer(pipeline, folder)
    return pipeline


def _check_tokenizer(pipeline: "DiffusionPipeline", folder: Path) -> None:
    """Raise ValueError for a tokenizer without its words, which transformers takes for an empty one, or of another text
    encoder."""
    tokenizer = pipeline.tokenizer
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
        raise ValueError(f"cannot load a diffusers pipeline from {folder}: the tokenizer has no words; fetch it again")
    known = pipeline.text_encoder.config.vocab_size
    if len(tokenizer) > known:
        raise ValueError(
            f"{folder}: tokenizer has {len(tokenizer)} words, text_encoder {known}; fetch both of one model"
        )


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


def _load_network(kind: type, folder: Path, name: str, *, dtype: torch.dtype, shapes_only: bool) -> nn.Module:
    try:
        return load_whole_weights(
            kind, folder, shapes_only=shapes_only, subfolder=name, use_safetensors=True, dtype=dtype
        )
    except ValueError as error:
        raise ValueError(f"{name}: {one_line(error)}") from error


def check_pipeline_network(network: "ModelMixin", pipeline: "DiffusionPipeline", name: str) -> None:
    """Raise ValueError, in one line that begins with ``name``, for a network that reads what gad does not give."""
    channels = getattr(pipeline.vae.config, "latent_channels", None)
    for fault in family_input_faults(network, channels):
        raise ValueError(f"{name}: {fault}")


def pipeline_latent_shape(network: "ModelMixin", name: str) -> tuple[int, int, int]:
    """Channels, height and width of a network's latents. Raises ValueError, in one line, where they are not square."""
    side = family_latent_side(network.config, name)
    return network.config.in_channels, side, side


def check_teacher_pipeline(folder: Path) -> None:
    """All that a teacher's folder can be refused for, found out without reading its weights.

    Raises ValueError, in one line, as :func:`load_pipeline` and :func:`pipeline_latent_shape` do.
    """
    pipeline_latent_shape(pipeline_network(load_pipeline(folder, shapes_only=True)), str(folder))


def save_diffusers_pipeline(pipeline: "DiffusionPipeline", folder: Path) -> None:
    """Write a pipeline as a diffusers folder, whole or not at all, that is the same on every machine and runs as stock
    loading brings it back."""
    with atomic_write_path(folder) as partial:
        pipeline.save_pretrained(partial)
        make_saved_folder_portable(partial)
