"""Loading diffusers pipelines from folders and the hub, whole or not at all, and checking that they can be used."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from gad.models.families import family_by_name
from gad.models.family import Family
from gad.models.pipelines import check_pipeline_network, pipeline_latent_shape
from gad.models.text_encoding import TEXT_ENCODERS, pipeline_text_encoders, tokenizer_name
from gad.models.weights import load_whole_weights, one_line, weights_library_messages
from gad.runtime.paths import project_path

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import DiffusionPipeline, ModelMixin
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


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


def check_teacher_pipeline(folder: Path, *, side: int | None = None) -> None:
    """All that a teacher's folder can be refused for, found out without reading its weights.

    Raises ValueError, in one line, as :func:`load_pipeline` and :func:`pipeline_latent_shape` do.
    """
    pipeline_latent_shape(load_pipeline(folder, shapes_only=True), str(folder), side=side)
