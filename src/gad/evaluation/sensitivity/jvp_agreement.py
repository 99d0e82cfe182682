"""The derivative exact and by difference, side by side, for the teacher and one student of each variant."""

from collections.abc import Iterable

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from gad.config import Recipe
from gad.data.prompts import prompt_of
from gad.diffusion.jvp import Map, difference_jvp, exact_jvps_or_none
from gad.diffusion.maps import noise_to_image_map
from gad.evaluation.sensitivity.analysis_noise import (
    analysis_direction_kind,
    analysis_ids,
    analysis_noise,
    check_analysis_student,
)
from gad.evaluation.sensitivity.finite_difference import FEW, choose_finite_difference_step
from gad.models.model import Model
from gad.models.sampler import NamedStudent


@torch.no_grad()
def measure_jvp_agreement(teacher: Model, students: Iterable[NamedStudent], settings: Recipe) -> pd.DataFrame:
    """A row per variant, its first student, on a few noises and one direction each, of the noise-to-image map.

    ``h`` is the step chosen by the measured rounding floor; ``disagreement`` the median of
    ‖difference - exact‖ / ‖exact‖ (0 is best, NaN without forward mode); ``cosine_exact`` and ``cosine_difference``
    the JVP cosine with the teacher by each way (1 is best).
    """
    config, sampling = settings.sensitivity, settings.sampling
    few = analysis_ids(config)[:FEW]
    ids, noise, directions = analysis_noise(teacher, config, analysis_direction_kind(config), ids=few)
    prompts = prompt_of(ids, sampling.prompts)

    def taken(model: Model, denoise, num_steps: int) -> dict:
        phi = noise_to_image_map(denoise, model.condition(prompts), num_steps=num_steps)
        return jvp_agreement_of_map(phi, noise, directions[0])

    reference = taken(teacher, teacher.guided(sampling.guidance_scale), sampling.teacher_steps)
    rows = [_row("teacher", 0, reference, reference)]
    for variant, seed, student in students:
        if variant in {row["variant"] for row in rows}:
            continue  # how well two ways agree depends on the network's form, not on its seed
        check_analysis_student(f"{variant} (seed {seed})", student, teacher)
        rows.append(_row(variant, seed, taken(student, student.denoiser, sampling.student_steps), reference))
    return pd.DataFrame(rows)


def _row(variant: str, seed: int, own: dict, teacher: dict) -> dict:
    apart = own["disagreement"]
    return {
        "variant": variant,
        "seed": seed,
        "h": own["h"],
        "disagreement": float("nan") if apart is None else apart.median().item(),
        "cosine_exact": _mean_cosine(own["exact"], teacher["exact"]),
        "cosine_difference": _mean_cosine(own["difference"], teacher["difference"]),
    }


@torch.no_grad()
def jvp_agreement_of_map(phi: Map, x: Tensor, direction: Tensor) -> dict[str, Tensor | float | None]:
    """The derivative ``exact`` and by ``difference``, the ``h`` of the latter, and how far the two are apart.

    ``disagreement`` is ‖difference - exact‖ / ‖exact‖ per sample ``[B]``, 0 is best. ``exact`` and ``disagreement``
    are None where the network has no forward mode.
    """
    h = choose_finite_difference_step(phi, x, direction)
    difference = difference_jvp(phi, x, direction, h=h).jvp
    response = exact_jvps_or_none(phi, x, direction[None])
    if response is None:
        return {"exact": None, "difference": difference, "h": h, "disagreement": None}
    exact = response[1][0]
    apart = (difference - exact).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)
    return {"exact": exact, "difference": difference, "h": h, "disagreement": apart}


def _mean_cosine(one: Tensor | None, other: Tensor | None) -> float:
    """Mean cosine of two derivatives over samples, NaN where one of them is missing."""
    if one is None or other is None:
        return float("nan")
    return F.cosine_similarity(one.flatten(1), other.flatten(1)).mean().item()
