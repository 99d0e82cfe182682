"""The three families of diffusers pipelines that a teacher or a student can be: SD UNet, PixArt DiT, SANA flow DiT."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gad.diffusion.conditioning import Conditioning
from gad.diffusion.denoiser import NetworkCall, NetworkDenoiser
from gad.diffusion.schedule import FlowSchedule, Parameterisation, Schedule, TableSchedule
from gad.runtime.files import atomic_write_path, read_json

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import DiffusionPipeline, ModelMixin, SchedulerMixin

NEEDS_PROMPTS = "a pipeline's network reads prompts"


def call_unet(network: nn.Module, x_t: Tensor, timestep: Tensor, conditioning: Conditioning | None) -> Tensor:
    assert conditioning is not None, NEEDS_PROMPTS
    return network(x_t, timestep, encoder_hidden_states=conditioning.prompt_embeds, return_dict=False)[0]


def call_pixart(network: "ModelMixin", x_t: Tensor, timestep: Tensor, conditioning: Conditioning | None) -> Tensor:
    assert conditioning is not None, NEEDS_PROMPTS
    added: dict[str, Tensor | None] = {"resolution": None, "aspect_ratio": None}
    if network.config.sample_size == 128:  # the 1024-px model is conditioned on its resolution
        pixels = 8 * torch.tensor(x_t.shape[-2:], dtype=x_t.dtype, device=x_t.device)
        added = {
            "resolution": pixels.repeat(len(x_t), 1),
            "aspect_ratio": (pixels[:1] / pixels[1:]).repeat(len(x_t), 1),
        }
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


@dataclass(frozen=True)
class Family:
    """How a pipeline class is used: where its network is, how it is called, and its options for plain sampling."""

    network: str  # attribute of the pipeline
    call: NetworkCall
    sample_options: dict  # arguments of the pipeline's __call__ at sizes it has no resolution table for


FAMILIES = {
    "StableDiffusionPipeline": Family("unet", call_unet, {}),
    "PixArtAlphaPipeline": Family(
        "transformer", call_pixart, {"use_resolution_binning": False, "clean_caption": False}
    ),
    "SanaPipeline": Family(
        "transformer", call_sana, {"use_resolution_binning": False, "complex_human_instruction": None}
    ),
}

_PARAMETERISATIONS: dict[str, Parameterisation] = {
    "epsilon": "eps",
    "v_prediction": "v",
    "sample": "x0",
    "flow_prediction": "flow",
}


def pipeline_family(pipeline: "DiffusionPipeline") -> Family:
    """The family of a loaded pipeline. Raises ValueError for a class that is none of them."""
    name = type(pipeline).__name__
    if name not in FAMILIES:
        raise ValueError(f"{name} is not a pipeline class that gad can use; it can use {', '.join(FAMILIES)}")
    return FAMILIES[name]


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


@contextmanager
def _only_errors() -> Iterator[None]:
    """diffusers and transformers without their warnings and loading bars."""
    import diffusers  # here, since it takes seconds
    import transformers

    libraries = (diffusers.utils.logging, transformers.utils.logging)
    levels = [library.get_verbosity() for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, level in zip(libraries, levels, strict=True):
            library.set_verbosity(level)
            library.enable_progress_bar()


def load_pipeline(
    folder: str | Path, *, dtype: torch.dtype = torch.float32, revision: str | None = None, **parts: nn.Module
) -> "DiffusionPipeline":
    """A diffusers pipeline from a local folder or hub name (at ``revision``), in ``dtype``, frozen, safetensors only.

    ``parts`` (``vae=...``) are taken as they are and not read.
    Raises ValueError when the folder is missing or broken, or holds a pipeline of another class.
    """
    from diffusers import DiffusionPipeline  # here, since it takes seconds

    if isinstance(folder, Path) and not (folder / "model_index.json").is_file():  # diffusers would fetch it
        raise ValueError(f"cannot load a diffusers pipeline from {folder}: it holds no model_index.json")
    try:
        with _only_errors():  # an AutoencoderKL in a SanaPipeline draws two warnings and works
            options = parts | ({"revision": revision} if revision else {})
            pipeline = DiffusionPipeline.from_pretrained(str(folder), dtype=dtype, use_safetensors=True, **options)
    except Exception as error:  # diffusers raises many kinds for a broken folder
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"cannot load a diffusers pipeline from {folder}: {reason}") from error
    pipeline_family(pipeline)
    pipeline.set_progress_bar_config(disable=True)
    for module in pipeline.components.values():
        if isinstance(module, nn.Module):
            module.eval().requires_grad_(False)
    return pipeline


def save_diffusers_pipeline(pipeline: "DiffusionPipeline", folder: Path) -> None:
    """Write a pipeline as a diffusers folder, whole or not at all.

    The path it was loaded from, which diffusers adds to every config, is left out: equal pipelines give equal bytes on
    every machine.
    """
    with atomic_write_path(folder) as partial:
        pipeline.save_pretrained(partial)
        for path in partial.rglob("*.json"):
            values = read_json(path)
            if isinstance(values, dict) and values.pop("_name_or_path", None) is not None:
                path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")
