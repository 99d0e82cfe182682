"""Sample ids, noises and directions of the analysis, the same for every model."""

import torch
from torch import Tensor

from gad.config import SensitivityConfig
from gad.config.sample_ids import ANALYSIS, task_sample_ids
from gad.diffusion.jvp import Map
from gad.diffusion.noise import Direction, draw_direction, draw_noise
from gad.diffusion.singular_vectors import top_singular_vectors
from gad.models.model import Model


def analysis_ids(config: SensitivityConfig) -> range:
    """The sample ids of the analysis."""
    return task_sample_ids(ANALYSIS, config.num_noises)


def analysis_id_batches(ids: range, batch_size: int) -> list[range]:
    """The ids in batches; all that is measured is measured batch by batch, so memory does not grow with the noises."""
    return [ids[start : start + batch_size] for start in range(0, len(ids), batch_size)]


def check_analysis_student(name: str, student: Model, teacher: Model) -> None:
    """Raise ValueError, in one line, for a student that cannot be given the teacher's noises."""
    if student.latent_shape != teacher.latent_shape:
        ours, theirs = ("x".join(map(str, model.latent_shape)) for model in (student, teacher))
        raise ValueError(f"student {name} has latents of {ours}, its teacher of {theirs}: they have no noise in common")


def analysis_noise(
    model: Model, config: SensitivityConfig, kind: Direction, *, ids: range | None = None, phi: Map | None = None
) -> tuple[range, Tensor, Tensor]:
    """Ids, noises ``[N, C, H, W]`` and directions ``[K, N, C, H, W]`` of the analysis; the same for every model.

    ``singular`` directions are those that ``phi``, the teacher's map of these ids, responds to most strongly, as long
    as normal ones are: d^½. Where the latent has no more than K dimensions the directions are the basis, so that
    spectra are exact.
    """
    ids = analysis_ids(config) if ids is None else ids
    noise = draw_noise(ids, model.latent_shape, seed=config.seed)
    dim, count = noise[0].numel(), config.num_directions
    if dim <= count:
        basis = torch.eye(dim).view(dim, 1, *model.latent_shape)
        return ids, noise, basis.expand(-1, len(noise), -1, -1, -1)
    if kind == "singular":
        if phi is None:
            raise ValueError("singular directions are those of a map; give the teacher's as phi")
        return ids, noise, dim**0.5 * top_singular_vectors(phi, noise, count, ids=ids, seed=config.seed)[0]
    drawn = [draw_direction(ids, model.latent_shape, seed=config.seed, kind=kind, index=k) for k in range(count)]
    return ids, noise, torch.stack(drawn)


def analysis_direction_kind(config: SensitivityConfig) -> Direction:
    """The kind of direction of what is measured along one kind alone: isotropic where the recipe has it, else its first
    one that is drawn without asking the teacher."""
    drawn = [kind for kind in config.directions if kind != "singular"]
    return "isotropic" if "isotropic" in drawn or not drawn else drawn[0]
