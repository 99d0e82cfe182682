"""The pipeline of an external model: whole, a base with another network, or a base with an adapter."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub import hf_hub_download, snapshot_download

from gad.config.external import ExternalStudent
from gad.models.external_scheduler import external_scheduler
from gad.models.lora import merge_lora
from gad.models.lora_files import CONFIG
from gad.models.pipeline_loading import load_pipeline
from gad.models.pipelines import check_pipeline_network, pipeline_family, pipeline_latent_shape, pipeline_network
from gad.models.weights import load_weights_whole, load_whole_weights
from gad.runtime.files import read_tensors
from gad.runtime.paths import project_path

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import DiffusionPipeline, ModelMixin


def load_external_pipeline(
    settings: ExternalStudent,
    *,
    base: "DiffusionPipeline | None" = None,
    shapes_only: bool = False,
    fetch: bool = True,
) -> "DiffusionPipeline":
    """The pipeline of an external student: float32, frozen, with the scheduler that the recipe names.

    ``base`` is changed in place where a LoRA or a bare network has one in memory; else ``settings`` name it.
    With ``shapes_only`` its networks are on the device "meta": all the same checks, but no weight is read. Unless
    ``fetch`` nothing comes from the hub that is not in its cache. Raises ValueError, in one line that names the
    student, for a missing folder, another pipeline class, a scheduler or option that is not known, and weights or an
    adapter that do not fit or are not whole.
    """
    whole = settings.kind == "full"
    source, revision = (settings.source, settings.revision) if whole else (settings.base, settings.base_revision)
    assert source is not None, "a LoRA or a bare network names its base"
    try:
        pipeline = base or load_pipeline(source, revision=revision, shapes_only=shapes_only, fetch=fetch)
        if settings.kind == "lora":
            merge_lora(pipeline, external_adapter_file(settings, fetch), scale=settings.lora_scale)
        if settings.kind == "network":
            network = _bare_network(settings, pipeline_network(pipeline), shapes_only, fetch)
            check_pipeline_network(network, pipeline, settings.source)
            network.eval().requires_grad_(False)
            pipeline.register_modules(**{pipeline_family(pipeline).network: network})
    except ValueError as error:
        raise ValueError(f"{settings.name}: {error}") from error
    pipeline.scheduler = external_scheduler(pipeline, settings)
    return pipeline


def external_latent_shape(pipeline: "DiffusionPipeline", settings: ExternalStudent) -> tuple[int, int, int]:
    """Channels, height and width of the latents that a student is asked for: ``latent_side`` where it is set, else its
    network's own. Raises ValueError, in one line, where neither is square."""
    try:
        return pipeline_latent_shape(pipeline, settings.name, side=settings.latent_side)
    except ValueError as error:
        if settings.latent_side:
            raise
        raise ValueError(f"{error}; or set latent_side") from error


def _folder(source: str, revision: str | None, fetch: bool, patterns: list[str]) -> Path:
    """A local place, seen from the project's root; of a hub name the files that fit ``patterns``, fetched first."""
    path = project_path(source)
    if path.exists() or source.startswith((".", "/", "~")):
        return path
    options = {"allow_patterns": patterns, "local_files_only": not fetch}
    return Path(snapshot_download(source, revision=revision, **options))


def external_adapter_file(settings: ExternalStudent, fetch: bool = True) -> Path:
    """The adapter's safetensors file: itself, or the only one of its folder, with peft's settings beside it."""
    place = _folder(settings.source, settings.revision, fetch, ["*.safetensors", f"*{CONFIG}"])
    if place.is_file():
        return place
    found = sorted(place.rglob("*.safetensors")) if place.is_dir() else []
    if len(found) != 1:
        raise ValueError(f"{place} should hold one safetensors file of LoRA weights, not {len(found)}; name the file")
    elsewhere = [path for path in place.rglob(CONFIG) if path.parent != found[0].parent]
    if elsewhere:
        raise ValueError(f"{elsewhere[0]} is not beside the weights {found[0]}; put both into one folder")
    return found[0]


def _bare_network(settings: ExternalStudent, base: "ModelMixin", shapes_only: bool, fetch: bool) -> "ModelMixin":
    """A network from its own folder, or the base's with weights from a file. A .bin file runs no code: weights_only."""
    try:
        if settings.weights is None:
            place = project_path(settings.source)
            local = place.exists() or settings.source.startswith((".", "/", "~"))
            hub: dict[str, Any] = {} if local else {"revision": settings.revision, "local_files_only": not fetch}
            source = place if local else settings.source
            return load_whole_weights(type(base), source, shapes_only=shapes_only, subfolder=settings.subfolder, **hub)
        file = _weights_file(settings, fetch)
        safe = file.suffix == ".safetensors"
        state = read_tensors(file) if safe else torch.load(file, map_location="cpu", weights_only=True)
        load_weights_whole(base, state)
        return base
    except Exception as error:  # diffusers, torch and the hub raise many kinds for broken files
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(f"cannot load a network from {settings.source}: {reason}") from error


def _weights_file(settings: ExternalStudent, fetch: bool) -> Path:
    """The file that ``weights`` names, in ``source`` or its subfolder."""
    path = project_path(settings.source)
    if path.exists() or settings.source.startswith((".", "/", "~")):
        return path / (settings.subfolder or "") / str(settings.weights)
    options = {"revision": settings.revision, "subfolder": settings.subfolder, "local_files_only": not fetch}
    return Path(hf_hub_download(settings.source, str(settings.weights), **options))
