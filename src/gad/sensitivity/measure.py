"""Run teacher and students on the same noises and directions and collect one row per noise."""

from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor

from gad.config import SensitivityConfig
from gad.models.conditioning import Conditioning
from gad.models.denoiser import Denoiser
from gad.noise import draw_direction, draw_noise
from gad.response import Response, respond, respond_by_difference
from gad.sampling import sample
from gad.sensitivity import geometry
from gad.sensitivity.trajectory import trajectory_deviation
from gad.teachers.load import Model

NOISE_ID = 1_000_000  # sample ids of the analysis start here, far from those of any training set


def whole_map(denoise: Denoiser, conditioning: Conditioning | None, *, num_steps: int) -> Callable[[Tensor], Tensor]:
    """The map from initial noise to x0 through all steps."""
    return lambda noise: sample(denoise, noise, conditioning, num_steps=num_steps)[-1]


def analysis_noise(model: Model, config: SensitivityConfig, kind: str) -> tuple[range, Tensor, Tensor]:
    """Ids, noises ``[N, C, H, W]`` and directions ``[K, N, C, H, W]`` of the analysis; the same for every model.

    Where the latent has no more than K dimensions the directions are the basis, so that spectra are exact.
    """
    ids = range(NOISE_ID, NOISE_ID + config.num_noises)
    noise = draw_noise(ids, model.latent_shape, seed=config.seed)
    dim, count = noise[0].numel(), config.num_directions
    if dim <= count:
        basis = torch.eye(dim).view(dim, 1, *model.latent_shape)
        return ids, noise, basis.expand(-1, len(noise), -1, -1, -1)
    drawn = [draw_direction(ids, model.latent_shape, seed=config.seed, kind=kind, index=k) for k in range(count)]
    return ids, noise, torch.stack(drawn)


@torch.no_grad()
def responses(
    model: Model,
    denoise: Denoiser,
    prompts: list[str],
    noise: Tensor,
    directions: Tensor,
    config: SensitivityConfig,
    *,
    num_steps: int,
) -> tuple[Tensor, Tensor]:
    """Values ``[N, ...]`` and derivatives ``[K, N, ...]`` of the whole map, per unit of h."""
    values, derivatives = [], []
    for part in torch.arange(len(noise)).split(config.batch_size):
        conditioning = model.condition([prompts[i] for i in part.tolist()])
        phi = whole_map(denoise, conditioning, num_steps=num_steps)
        answers = []
        for direction in directions[:, part]:
            if config.method == "exact":
                answers.append(respond(phi, noise[part], direction))
            else:
                answers.append(respond_by_difference(phi, noise[part], direction, h=config.perturbation_scale))
        values.append(answers[0].x0)
        derivatives.append(torch.stack([answer.jvp for answer in answers]))
    return torch.cat(values), torch.cat(derivatives, dim=1)


def compare(student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor]) -> pd.DataFrame:
    """One row per noise and direction with the metrics of Table 1; the squared norms give the norm ratio."""
    rows = []
    kl = geometry.spectral_kl(geometry.spectrum(student[1]), geometry.spectrum(teacher[1]))
    for k, (jvp_student, jvp_teacher) in enumerate(zip(student[1], teacher[1], strict=True)):
        ours, theirs = Response(student[0], jvp_student), Response(teacher[0], jvp_teacher)
        columns = {
            "pointwise_mse": geometry.pointwise_mse(ours, theirs),
            "jvp_cosine": geometry.jvp_cosine(ours, theirs),
            "jvp_mse": geometry.jvp_mse(ours, theirs),
            "student_power": jvp_student.square().flatten(1).mean(1),
            "teacher_power": jvp_teacher.square().flatten(1).mean(1),
            "spectral_kl": kl,
        }
        table = pd.DataFrame({name: column.tolist() for name, column in columns.items()})
        rows.append(table.assign(noise=range(len(table)), direction=k))
    return pd.concat(rows, ignore_index=True)


def summarise(rows: pd.DataFrame) -> dict[str, float]:
    """The Table 1 row of a model: means over noises and directions, and the Jacobian norm ratio of the whole sample.

    A few noises where the teacher's map is steep decide that ratio; the median gain ‖J_S v‖ / ‖J_T v‖ does not hang on
    them. Likewise the median map error.
    """
    names = ["pointwise_mse", "jvp_cosine", "jvp_mse", "spectral_kl"]
    summary = {name: float(rows[name].mean()) for name in names}
    summary["map_error_median"] = float(rows.groupby("noise")["pointwise_mse"].first().median())
    summary["gain_median"] = float((rows["student_power"] / rows["teacher_power"]).median() ** 0.5)
    ratio = rows["student_power"].sum() / rows["teacher_power"].sum()
    return summary | {"jacobian_norm_ratio": float(ratio**0.5)}


@torch.no_grad()
def deviation(
    student: Denoiser, teacher: Denoiser, noise: Tensor, conditioning, *, num_nodes: int, teacher_steps: int
) -> list[float]:
    """Mean cumulative deviation at the student's nodes after the first, from noise to data."""
    stride = teacher_steps // num_nodes
    reference = sample(teacher, noise, conditioning, num_steps=teacher_steps)[::stride]
    return trajectory_deviation(sample(student, noise, conditioning, num_steps=num_nodes), reference).mean(1).tolist()
