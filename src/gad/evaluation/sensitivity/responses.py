"""Values and derivatives of one map at given noises, and what two of them say about each other."""

from collections.abc import Callable, Sequence

import pandas as pd
import torch
from torch import Tensor

from gad.config import SensitivityConfig
from gad.config.sample_ids import ANALYSIS, task_sample_ids
from gad.diffusion.conditioning import Conditioning
from gad.diffusion.denoiser import Denoiser
from gad.diffusion.jvp import Map, Response
from gad.diffusion.noise import Direction, draw_direction, draw_noise
from gad.diffusion.sampling import sample
from gad.diffusion.singular_vectors import top_singular_vectors
from gad.diffusion.step_size import check_step
from gad.evaluation.sensitivity.finite_difference import choose_step, exact_jvps_or_none
from gad.metrics import response as geometry
from gad.models.model import Model


def noise_to_image_map(
    denoise: Denoiser, conditioning: Conditioning | None, *, num_steps: int
) -> Callable[[Tensor], Tensor]:
    """The map from initial noise to x0 through all steps."""
    return lambda noise: sample(denoise, noise, conditioning, num_steps=num_steps)[-1]


Steps = dict[str, float]
"""The step of each map's difference quotients, by a name of the map, once it was chosen."""


def analysis_ids(config: SensitivityConfig) -> range:
    """The sample ids of the analysis."""
    return task_sample_ids(ANALYSIS, config.num_noises)


def analysis_batches(ids: range, batch_size: int) -> list[range]:
    """The ids in batches; all that is measured is measured batch by batch, so memory does not grow with the noises."""
    return [ids[start : start + batch_size] for start in range(0, len(ids), batch_size)]


def check_analysed_student(name: str, student: Model, teacher: Model) -> None:
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


def response_differences(phi: Map, x: Tensor, directions: Tensor, *, h: float) -> tuple[Tensor, Tensor]:
    """Value and forward differences, Eq. (5), along every direction ``[K, B, ...]``; one call at the base point."""
    check_step(h, x.dtype)
    value = phi(x)
    return value, torch.stack([(phi(x + h * direction) - value) / h for direction in directions])


@torch.no_grad()
def value_and_responses(
    phi: Map,
    x: Tensor,
    directions: Tensor,
    config: SensitivityConfig,
    *,
    steps: Steps | None = None,
    key: str = "",
) -> tuple[Tensor, Tensor]:
    """Value ``[B, ...]`` and derivatives ``[K, B, ...]`` of a map.

    Where a network has no forward mode, its derivatives are differences at the step of :func:`choose_step`, chosen on
    the first few noises and stored in ``steps`` under ``key``: so all batches of a map are measured at one step.
    """
    if config.method == "difference":
        return response_differences(phi, x, directions, h=config.perturbation_scale)
    exact = exact_jvps_or_none(phi, x, directions)
    if exact is not None:
        return exact
    steps = {} if steps is None else steps
    if key not in steps:
        steps[key] = choose_step(phi, x, directions[0])
    return response_differences(phi, x, directions, h=steps[key])


def compare_responses(student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor]) -> pd.DataFrame:
    """One row per noise and direction with the metrics of Table 1; the squared norms give the norm ratio."""
    rows = []
    kl = geometry.spectral_kl(geometry.response_spectrum(student[1]), geometry.response_spectrum(teacher[1]))
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


def summarise_responses(rows: pd.DataFrame) -> dict[str, float]:
    """The Table 1 row of a model: means over noises and directions, and the Jacobian norm ratio of the whole sample.

    A few noises where the teacher's map is steep decide that ratio; the median gain ‖J_S v‖ / ‖J_T v‖ does not depend
    on them. Likewise the median map error.
    """
    names = ["pointwise_mse", "jvp_cosine", "jvp_mse", "spectral_kl"]
    summary = {name: float(rows[name].mean()) for name in names}
    summary["map_error_median"] = float(rows.groupby("noise")["pointwise_mse"].first().median())
    summary["gain_median"] = float((rows["student_power"] / rows["teacher_power"]).median() ** 0.5)
    ratio = rows["student_power"].sum() / rows["teacher_power"].sum()
    return summary | {"jacobian_norm_ratio": float(ratio**0.5)}


def single_call_map(denoise: Denoiser, t: float, conditioning) -> Map:
    """The map from x_t to the network's x0 at one time."""
    return lambda x_t: denoise(x_t, torch.full((len(x_t),), t, dtype=x_t.dtype, device=x_t.device), conditioning)


def analysed_direction_kind(config: SensitivityConfig) -> Direction:
    """The kind of direction of what is measured along one kind alone: isotropic where the recipe has it, else its first
    one that is drawn without asking the teacher."""
    drawn = [kind for kind in config.directions if kind != "singular"]
    return "isotropic" if "isotropic" in drawn or not drawn else drawn[0]


def check_finite_responses(name: str, ids: Sequence[int], *outputs: Tensor) -> None:
    """Raise ValueError, in one line, naming the first noise for which a model gives NaN or infinity."""
    for output in outputs:
        finite = output.isfinite().movedim(-4, 0).flatten(1).all(1)
        if not finite.all():
            noise = ids[int((~finite).nonzero()[0])]
            raise ValueError(f"{name} gives NaN or infinity for noise {noise}; check its weights and dtype")
