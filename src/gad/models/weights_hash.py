"""Weights hash of a model, so that cached results of another are not taken for its own."""

import hashlib

import torch
from torch import Tensor, nn

from gad.diffusion.guidance import Guided, GuidedByInput, unguided
from gad.models.exact import ExactDenoiser
from gad.models.external_sampler import ExternalSampler
from gad.models.first_step import TeacherFirstStep
from gad.models.model import Model
from gad.models.pipelines import pipeline_network
from gad.models.text_encoding import TEXT_ENCODERS
from gad.runtime.fingerprint import fingerprint

SHARED = (*TEXT_ENCODERS, "vae")  # parts of a pipeline that a student may have from its teacher


def weights_hash(model: Model, *, teacher: Model | None = None) -> str:
    """A short hash of all numbers that decide a model's outputs: network, text encoder, autoencoder, or data points.

    Parts that are the very objects of ``teacher`` are left out: students share them, and they may be large.
    """
    tensors = _own_tensors(model)
    for name in SHARED:
        part = getattr(model.pipeline, name, None)
        if part is not None and (teacher is None or part is not getattr(teacher.pipeline, name, None)):
            tensors |= {f"{name}.{key}": value for key, value in part.state_dict().items()}
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _own_tensors(model: Model) -> dict[str, Tensor]:
    denoiser = model.denoiser
    if isinstance(denoiser, ExternalSampler):
        return dict(denoiser.network.state_dict())
    if isinstance(denoiser, TeacherFirstStep):
        parts = {"teacher": unguided(denoiser.teacher), "student": denoiser.student}
        own = {name: _own_tensors(Model(part, model.latent_shape)) for name, part in parts.items()}
        return {f"{name}.{key}": value for name, tensors in own.items() for key, value in tensors.items()}
    if isinstance(denoiser, nn.Module):
        return dict(denoiser.state_dict())
    assert isinstance(denoiser, ExactDenoiser), "a teacher is a network or exact"
    return {"points": denoiser.points}


def model_weights_key(model: Model, *, teacher: Model | None = None) -> str:
    """A short hash of a model's weights (as :func:`weights_hash`) and of how its parts are set up."""
    pipeline, denoiser = model.pipeline, model.denoiser
    parts = [] if pipeline is None else [pipeline_network(pipeline), pipeline.vae, pipeline.scheduler]
    settings: list[object] = [{k: v for k, v in part.config.items() if not k.startswith("_")} for part in parts]
    settings += [type(denoiser).__name__, model.latent_shape]
    if isinstance(denoiser, ExternalSampler):
        settings.append(denoiser.settings.model_dump())
    if isinstance(denoiser, TeacherFirstStep):
        scale = denoiser.teacher.guidance_scale if isinstance(denoiser.teacher, Guided | GuidedByInput) else 1.0
        settings.append([denoiser.teacher_steps, denoiser.student_steps, scale])
    return fingerprint(weights_hash(model, teacher=teacher), settings)
