"""Values and derivatives of one map, and what two of them say about each other."""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from gad.config import SensitivityConfig
from gad.diffusion.jvp import Map, Response, difference_jvps, exact_jvps_or_none
from gad.evaluation.sensitivity.finite_difference import choose_finite_difference_step
from gad.metrics import response as geometry

Steps = dict[str, float]
"""The step of each map's difference quotients, by a name of the map, once it was chosen."""


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

    Where a network has no forward mode, its derivatives are differences at the step of
    :func:`choose_finite_difference_step`, chosen on the first few noises and stored in ``steps`` under ``key``: so all
    batches of a map are measured at one step.
    """
    if config.method == "difference":
        return difference_jvps(phi, x, directions, h=config.perturbation_scale)
    exact = exact_jvps_or_none(phi, x, directions)
    if exact is not None:
        return exact
    steps = {} if steps is None else steps
    if key not in steps:
        steps[key] = choose_finite_difference_step(phi, x, directions[0])
    return difference_jvps(phi, x, directions, h=steps[key])


def rows_of_responses(student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor]) -> pd.DataFrame:
    """One row per noise and direction with the metrics of Table 1; the squared norms give the norm ratio."""
    rows = []
    kl = geometry.spectral_kl(geometry.response_spectrum(student[1]), geometry.response_spectrum(teacher[1]))
    for k, (jvp_student, jvp_teacher) in enumerate(zip(student[1], teacher[1], strict=True)):
        ours, theirs = Response(student[0], jvp_student), Response(teacher[0], jvp_teacher)
        columns = {
            "pointwise_mse": geometry.response_value_mse(ours, theirs),
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


def check_finite_responses(name: str, ids: Sequence[int], *outputs: Tensor) -> None:
    """Raise ValueError, in one line, naming the first noise for which a model gives NaN or infinity."""
    for output in outputs:
        finite = output.isfinite().movedim(-4, 0).flatten(1).all(1)
        if not finite.all():
            noise = ids[int((~finite).nonzero()[0])]
            raise ValueError(f"{name} gives NaN or infinity for noise {noise}; check its weights and dtype")
