"""Teachers and students as they are used: a denoiser, the latent shape, and how prompts are encoded."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from gad.diffusion.conditioning import Conditioning
from gad.diffusion.denoiser import Denoiser, NetworkDenoiser
from gad.diffusion.guidance import Guided, GuidedByInput
from gad.diffusion.schedule import CosineSchedule
from gad.models.exact import ExactDenoiser
from gad.models.families import reads_its_guidance
from gad.models.lora_students import lora_student_denoiser, lora_student_file, lora_student_scheduler
from gad.models.mlp import load_point_network, point_denoiser
from gad.models.own_times import load_own_timesteps
from gad.models.pipeline_loading import load_pipeline
from gad.models.pipelines import pipeline_denoiser, pipeline_family, pipeline_latent_shape
from gad.models.shared_parts import pipeline_with_parts
from gad.models.text_encoding import (
    pipeline_text_encoders,
    text_encoding_of_prompts,
    unconditional_text_encoding,
)
from gad.runtime.files import read_json, read_tensors
from gad.runtime.fingerprint import fingerprint
from gad.runtime.paths import project_path

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import DiffusionPipeline

PIXELS = 8 * 512**2  # that are decoded at once: an autoencoder's widest layers take 3 kB for each


@dataclass(frozen=True)
class Model:
    """A teacher or student ready for use. ``pipeline`` is None for the Swiss roll, which has no text and no pixels.

    ``encode`` stands in for a pipeline's text encoder where there is none: in dry runs.
    """

    denoiser: Denoiser
    latent_shape: tuple[int, int, int]
    pipeline: "DiffusionPipeline | None" = None
    encode: Callable[[list[str]], Conditioning] | None = None

    def condition(self, prompts: list[str]) -> Conditioning | None:
        """Encoded prompts, or None where the model takes none."""
        if self.encode is not None:
            return self.encode(prompts)
        return text_encoding_of_prompts(self.pipeline, prompts) if self.pipeline else None

    def guided(self, guidance_scale: float) -> Denoiser:
        """The denoiser under guidance, classifier-free unless its network reads the scale; 1 is the plain one."""
        if guidance_scale == 1:
            return self.denoiser
        if isinstance(self.denoiser, NetworkDenoiser) and reads_its_guidance(self.denoiser.network):
            return GuidedByInput(self.denoiser, guidance_scale)
        encoded_here = self.encode is None and self.pipeline is not None
        empty = unconditional_text_encoding(self.pipeline) if encoded_here else self.condition([""])
        assert empty is not None, "guidance needs prompts"
        return Guided(self.denoiser, empty, guidance_scale)

    def images(self, latents: torch.Tensor) -> torch.Tensor:
        """Decoded images ``[B, 3, H, W]`` in [-1, 1], or the Swiss roll's points ``[B, 2]``, with their gradient."""
        if self.pipeline is None:
            return latents.flatten(1)
        vae = self.pipeline.vae
        return vae.decode(_unscaled(latents.to(vae.device), vae.config)).sample.to(latents).clamp(-1, 1)

    @torch.no_grad()
    def decode(self, latents: torch.Tensor, *, batch_size: int = 64) -> torch.Tensor:
        """The same without gradient, a batch at a time, of large images fewer."""
        few = batch_size if self.pipeline is None else max(1, PIXELS // self.image_side**2)
        return torch.cat([self.images(part) for part in latents.split(min(batch_size, few))])

    @property
    def points(self) -> torch.Tensor | None:
        """The data ``[N, 2]`` of the exact 2-D teacher; None for a model with a network."""
        return self.denoiser.points.flatten(1) if isinstance(self.denoiser, ExactDenoiser) else None

    @property
    def image_side(self) -> int:
        """Pixels on a side of the square images."""
        assert self.pipeline is not None, "2-D models have no pixels"
        return self.latent_shape[-1] * self.pipeline.vae_scale_factor

    def on(self, device: torch.device) -> "Model":
        """The model with its networks on ``device``; its inputs and outputs stay on the CPU."""
        if self.pipeline is not None:
            self.pipeline.to(device)
        return self

    @contextmanager
    def text_encoder_on(self, device: torch.device) -> Iterator[None]:
        """Inside the block the text encoders are on ``device``; afterwards on the CPU again, where they cost no GPU
        memory."""
        encoders = pipeline_text_encoders(self.pipeline).values()
        try:
            for encoder in encoders:
                encoder.to(device)
            yield
        finally:
            for encoder in encoders:
                encoder.to("cpu")


def _unscaled(latents: torch.Tensor, config: Mapping) -> torch.Tensor:
    """Latents as the autoencoder has them, from those of unit scale; families differ in what they note of theirs."""
    mean, std = config.get("latents_mean"), config.get("latents_std")
    if mean is not None and std is not None:
        mean, std = (torch.tensor(values).view(1, -1, 1, 1).to(latents) for values in (mean, std))
        return latents * std / config["scaling_factor"] + mean
    shift = config.get("shift_factor")
    scaled = latents / config["scaling_factor"]
    return scaled if shift is None else scaled + shift


def _from_pipeline(pipeline: "DiffusionPipeline", source: str | Path, side: int | None) -> Model:
    shape = pipeline_latent_shape(pipeline, str(source), side=side)
    return Model(pipeline_denoiser(pipeline, side=shape[-1]), shape, pipeline)


def load_model(folder: Path, *, teacher: Model | None = None, side: int | None = None) -> Model:
    """The teacher or student in a folder of any kind this project writes.

    A student of ``teacher`` shares its text encoders and autoencoder, which its training left as they were, and makes
    latents of its size. Another pipeline's latents have ``side``, by default its network's own.
    Raises ValueError, in one line, when the folder is missing, broken or of a class that is not known.
    """
    if (folder / "teacher.json").exists():  # a teacher in another folder, pinned by its hash
        pointer = read_json(folder / "teacher.json")
        source = project_path(pointer["source"])
        if source.exists() and fingerprint(source) != pointer["hash"]:
            raise ValueError(f"the teacher in {source} is not the one that {folder} was made for (hash differs)")
        if source.exists():
            return load_model(source, side=pointer.get("latent_side"))
        pipeline = load_pipeline(pointer["source"], revision=pointer.get("revision"))
        return _from_pipeline(pipeline, pointer["source"], pointer.get("latent_side"))
    if (folder / "points.safetensors").exists():
        return Model(ExactDenoiser(_points(folder / "points.safetensors"), CosineSchedule()), (2, 1, 1))
    if (folder / "network.safetensors").exists():
        return Model(point_denoiser(load_point_network(folder)), (2, 1, 1))
    if not folder.exists():
        raise ValueError(f"there is no model in {folder}")
    adapter = lora_student_file(folder)
    if adapter is not None:
        return _lora_student(adapter, teacher)
    if teacher is None or teacher.pipeline is None:
        model = _from_pipeline(load_pipeline(folder), folder, side)
    else:
        shared = pipeline_text_encoders(teacher.pipeline) | {"vae": teacher.pipeline.vae}
        model = _from_pipeline(load_pipeline(folder, **shared), folder, teacher.latent_shape[-1])
    if isinstance(model.denoiser, NetworkDenoiser):
        load_own_timesteps(model.denoiser, folder)
    return model


def _lora_student(path: Path, teacher: Model | None) -> Model:
    """A student that is an adapter on its teacher's network, whose weights it shares."""
    if teacher is None or teacher.pipeline is None or not isinstance(teacher.denoiser, NetworkDenoiser):
        raise ValueError(f"{path.parent} holds a LoRA, which is loaded on its teacher: name that one as well")
    denoiser = lora_student_denoiser(path, teacher.denoiser, teacher.pipeline)
    parts = {
        pipeline_family(teacher.pipeline).network: denoiser.network,
        "scheduler": lora_student_scheduler(path.parent, teacher.pipeline),
    }
    load_own_timesteps(denoiser, path.parent)
    return Model(denoiser, teacher.latent_shape, pipeline_with_parts(teacher.pipeline, **parts))


def _points(path: Path) -> torch.Tensor:
    """The data points ``[N, 2, 1, 1]`` of the exact teacher. Raises ValueError for a file of other tensors."""
    points = read_tensors(path).get("points")
    if points is None or points.ndim != 2 or points.shape[1] != 2 or not points.isfinite().all():
        raise ValueError(f"{path} holds no finite tensor 'points' of shape [N, 2]; run the teacher stage again")
    return points.view(-1, 2, 1, 1)
