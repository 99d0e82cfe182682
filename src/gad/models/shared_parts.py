"""Parts of pipelines that are equal, held once."""

import copy
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

import torch

from gad.models.text_encoding import pipeline_text_encoders

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import DiffusionPipeline, ModelMixin
    from transformers import PreTrainedModel

Part: TypeAlias = "ModelMixin | PreTrainedModel"

ORIGIN = {"transformers_version", "torch_dtype", "dtype"}


def share_equal_parts(pipeline: "DiffusionPipeline", others: "Iterable[DiffusionPipeline | None]") -> None:
    """Give a pipeline the text encoders and autoencoder of the first of ``others`` that are the same.

    Many published students have their teacher's: a T5 of 19 GB a student would not fit beside ten others.
    """
    for name in (*pipeline_text_encoders(pipeline), "vae"):
        mine = getattr(pipeline, name)
        for other in others:
            theirs = getattr(other, name, None)
            if theirs is not None and _alike(mine, theirs):
                pipeline.register_modules(**{name: theirs})
                break


def pipeline_with_parts(pipeline: "DiffusionPipeline", **parts: object) -> "DiffusionPipeline":
    """A pipeline of the same parts, but for those that are named; the given one stays as it is."""
    other = copy.copy(pipeline)
    other.register_modules(**parts)
    return other


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
