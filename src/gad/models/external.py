"""External models as students: any diffusers pipeline of our classes, with its own sampler.

Such a model is run whole (:mod:`gad.models.external_sampler`) and stands in the tables of one-step students, whatever
number of steps it takes inside.
"""

import inspect
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch
from huggingface_hub import hf_hub_download, snapshot_download
from safetensors.torch import load_file

from gad.config import Recipe
from gad.config.external import ExternalStudent
from gad.models.external_sampler import ExternalSampler
from gad.models.lora import merge_lora
from gad.models.model import Model
from gad.models.pipelines import load_pipeline, pipeline_family, pipeline_network
from gad.models.sampler import NamedStudent
from gad.models.text_encoding import text_encoding_of_prompts
from gad.runtime.devices import own_device
from gad.runtime.paths import ROOT

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import DiffusionPipeline, ModelMixin
    from transformers import PreTrainedModel

Part: TypeAlias = "ModelMixin | PreTrainedModel"

ORIGIN = {"transformers_version", "torch_dtype", "dtype"}
PICKLED = ["*.bin", "*.ckpt", "*.pt", "*.pth", "*.msgpack"]  # of whole pipelines never read, so never fetched


def _place(source: str, revision: str | None = None) -> str | Path:
    """A local folder as a path, seen from the project's root; a hub name as it is, or fetched at its revision."""
    path = ROOT / source
    if path.exists() or source.startswith((".", "/")):
        return path
    return Path(snapshot_download(source, revision=revision, ignore_patterns=PICKLED)) if revision else source


def _weights_file(settings: ExternalStudent) -> Path:
    """The LoRA's safetensors file: itself, or the only one of its folder; fetched first when it is on the hub."""
    place = _place(settings.source)
    if isinstance(place, str):
        place = Path(snapshot_download(place, revision=settings.revision, allow_patterns="*.safetensors"))
    if place.is_file():
        return place
    found = sorted(place.rglob("*.safetensors")) if place.is_dir() else []
    if len(found) != 1:
        raise ValueError(f"{settings.name}: {place} should hold one safetensors file of LoRA weights, not {len(found)}")
    return found[0]


def _bare_network(settings: ExternalStudent, base: "ModelMixin") -> "ModelMixin":
    """A network from its own folder, or the base's with weights from a file. A .bin file runs no code: weights_only."""
    options = {"revision": settings.revision, "subfolder": settings.subfolder}
    try:
        if settings.weights is None:
            return type(base).from_pretrained(str(_place(settings.source)), dtype=torch.float32, **options)
        place = _place(settings.source)
        file = (
            hf_hub_download(place, settings.weights, **options) if isinstance(place, str) else place / settings.weights
        )
        safe = Path(file).suffix == ".safetensors"
        state = load_file(file) if safe else torch.load(file, map_location="cpu", weights_only=True)
        base.load_state_dict(state)
        return base.float()
    except Exception as error:  # diffusers, torch and the hub raise many kinds for broken files
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(f"{settings.name}: cannot load a network from {settings.source}: {reason}") from error


def _load_external_pipeline(settings: ExternalStudent) -> "DiffusionPipeline":
    """The pipeline of an external student: float32, frozen, with the scheduler that the recipe names.

    Raises ValueError, in one line, for a missing folder, another pipeline class, an unknown scheduler, or weights that
    do not fit.
    """
    import diffusers  # here, since it takes seconds

    whole = settings.kind == "full"
    source, revision = (settings.source, settings.revision) if whole else (settings.base, settings.base_revision)
    assert source is not None, "a LoRA or a bare network names its base"
    pipeline = load_pipeline(_place(source, revision))
    if settings.kind == "lora":
        merge_lora(pipeline_network(pipeline), _weights_file(settings), scale=settings.lora_scale)
    if settings.kind == "network":
        network = _bare_network(settings, pipeline_network(pipeline)).eval().requires_grad_(False)
        pipeline.register_modules(**{pipeline_family(pipeline).network: network})
    if getattr(pipeline_network(pipeline).config, "time_cond_proj_dim", None) is not None:
        name = settings.name
        raise ValueError(f"{name}: its network wants its guidance as an embedding, which gad does not give; use a LoRA")
    if settings.scheduler:
        options = dict(settings.scheduler)
        kind_name = str(options.pop("class", type(pipeline.scheduler).__name__))
        if not hasattr(diffusers, kind_name):
            raise ValueError(f"{settings.name}: diffusers has no scheduler {kind_name!r}")
        kind, given = getattr(diffusers, kind_name), pipeline.scheduler.config
        if "clip_sample" in inspect.signature(kind).parameters and "clip_sample" not in given:
            options = {"clip_sample": False} | options  # some clip x0 to [-1, 1] unless set: latents are wider
        pipeline.scheduler = kind.from_config(given, **options)
    return pipeline


def _reader(pipeline: "DiffusionPipeline") -> dict:
    """What makes a text encoder the one it is, as far as its config says."""
    config = pipeline.text_encoder.config
    sizes = ("hidden_size", "d_model", "vocab_size", "num_hidden_layers", "num_layers")
    found = {size: getattr(config, size) for size in sizes if getattr(config, size, None) is not None}
    return {"class": type(pipeline.text_encoder).__name__, **found}


def _check_comparable(name: str, student: Model, teacher: Model) -> None:
    """Raise ValueError, in one line, for a student whose noises or prompts are not the teacher's."""
    if teacher.pipeline is None:
        raise ValueError(f"{name} cannot be compared with a 2-D teacher: it makes images")
    if student.latent_shape != teacher.latent_shape:
        shapes = f"{name} has latents of {student.latent_shape}, the teacher of {teacher.latent_shape}"
        raise ValueError(f"{shapes}; if it can make those, set latent_side")
    ours, theirs = _reader(teacher.pipeline), _reader(student.pipeline)
    if ours != theirs:
        raise ValueError(f"{name} reads prompts with another text encoder ({theirs}) than the teacher ({ours})")


def share_external_parts(pipeline: "DiffusionPipeline", others: "Iterable[DiffusionPipeline | None]") -> None:
    """Give a pipeline the text encoder and autoencoder of the first of ``others`` that are the same.

    Many published students have their teacher's: a T5 of 19 GB a student would not fit beside ten others.
    """
    for name in ("text_encoder", "vae"):
        mine = getattr(pipeline, name)
        for other in others:
            theirs = getattr(other, name, None)
            if theirs is not None and _alike(mine, theirs):
                pipeline.register_modules(**{name: theirs})
                break


def _alike(one: Part, other: Part) -> bool:
    """The same weights, used in the same way."""
    if type(one) is not type(other) or _settings(one) != _settings(other):
        return False
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key].to(ours[key])) for key in ours)


def _settings(module: Part) -> dict:
    """A part's config as a file holds it, without where it comes from."""
    config = module.config.to_dict() if hasattr(module.config, "to_dict") else dict(module.config)
    kept = {key: value for key, value in config.items() if not key.startswith("_") and key not in ORIGIN}
    return json.loads(json.dumps(kept, default=str))  # lists and tuples are one


def load_external_student(
    settings: ExternalStudent, teacher: Model, *, others: "Iterable[DiffusionPipeline]" = ()
) -> Model:
    """An external student ready for use, compared with the teacher first. Raises ValueError as its parts do.

    What is equal in the teacher or in pipelines of ``others`` is shared with them.
    """
    pipeline = _load_external_pipeline(settings)
    share_external_parts(pipeline, [teacher.pipeline, *others])
    config = pipeline_network(pipeline).config
    uncond = None if settings.guidance_scale == 1 else text_encoding_of_prompts(pipeline, [""])
    side = settings.latent_side or config.sample_size
    shape = (config.in_channels, side, side)
    student = Model(ExternalSampler(pipeline, settings, uncond), shape, pipeline)
    _check_comparable(settings.name, student, teacher)
    return student


def load_external(settings: Recipe, teacher: Model, *, device: str = "cpu") -> list[NamedStudent]:
    """Name, 0 and model of every entry of the recipe's ``students``, as :func:`gad.models.students.load_students` gives
    ours.

    They are noise-to-image maps: their derivatives are measured with :func:`as_external` of the recipe.
    """
    found: list[NamedStudent] = []
    for entry in settings.external_models:
        others = [model.pipeline for _, _, model in found]
        found.append((entry.name, 0, load_external_student(entry, teacher, others=others).on(own_device(device))))
    return found


def as_external(settings: Recipe) -> Recipe:
    """The recipe with one-step students, and derivatives by difference: how external students are measured.

    Stock schedulers are not written for forward mode; the difference is taken in float32.
    """
    pairs = settings.noise_pairs.model_copy(update={"student_steps": 1})
    sensitivity = settings.sensitivity.model_copy(update={"method": "difference"})
    return settings.model_copy(update={"noise_pairs": pairs, "sensitivity": sensitivity})
