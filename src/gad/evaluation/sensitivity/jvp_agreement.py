"""The derivative exact and by difference, side by side, for the teacher and one student of each variant."""

from collections.abc import Iterable

import pandas as pd
import torch

from gad.config import Recipe
from gad.data.prompts import prompt_of
from gad.evaluation.sensitivity.finite_difference import FEW, exact_and_difference_jvp, mean_derivative_cosine
from gad.evaluation.sensitivity.responses import (
    analysed_direction_kind,
    analysis_ids,
    analysis_noise,
    check_analysed_student,
    noise_to_image_map,
)
from gad.models.model import Model
from gad.models.sampler import NamedStudent


@torch.no_grad()
def jvp_agreement_table(teacher: Model, students: Iterable[NamedStudent], settings: Recipe) -> pd.DataFrame:
    """A row per variant, its first student, on a few noises and one direction each, of the noise-to-image map.

    ``h`` is the step chosen by the measured rounding floor; ``disagreement`` the median of
    ‖difference - exact‖ / ‖exact‖ (0 is best, NaN without forward mode); ``cosine_exact`` and ``cosine_difference``
    the JVP cosine with the teacher by each way (1 is best).
    """
    config, sampling = settings.sensitivity, settings.sampling
    few = analysis_ids(config)[:FEW]
    ids, noise, directions = analysis_noise(teacher, config, analysed_direction_kind(config), ids=few)
    prompts = prompt_of(ids, sampling.prompts)

    def taken(model: Model, denoise, num_steps: int) -> dict:
        phi = noise_to_image_map(denoise, model.condition(prompts), num_steps=num_steps)
        return exact_and_difference_jvp(phi, noise, directions[0])

    reference = taken(teacher, teacher.guided(sampling.guidance_scale), sampling.teacher_steps)
    rows = [_row("teacher", 0, reference, reference)]
    for variant, seed, student in students:
        if variant in {row["variant"] for row in rows}:
            continue  # how well two ways agree depends on the network's form, not on its seed
        check_analysed_student(f"{variant} (seed {seed})", student, teacher)
        rows.append(_row(variant, seed, taken(student, student.denoiser, sampling.student_steps), reference))
    return pd.DataFrame(rows)


def _row(variant: str, seed: int, own: dict, teacher: dict) -> dict:
    apart = own["disagreement"]
    return {
        "variant": variant,
        "seed": seed,
        "h": own["h"],
        "disagreement": float("nan") if apart is None else apart.median().item(),
        "cosine_exact": mean_derivative_cosine(own["exact"], teacher["exact"]),
        "cosine_difference": mean_derivative_cosine(own["difference"], teacher["difference"]),
    }
