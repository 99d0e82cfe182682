"""How far x0 moves as the noise moves along a direction, by the size of the step."""

from collections.abc import Iterable, Iterator

import pandas as pd
import torch

from gad.config import Recipe
from gad.data.prompts import prompt_of
from gad.diffusion.maps import noise_to_image_map
from gad.evaluation.sensitivity.analysis_noise import analysis_direction_kind, analysis_ids, analysis_noise
from gad.models.model import Model
from gad.models.sampler import NamedStudent, num_sampler_steps


@torch.no_grad()
def measure_response_curve(
    teacher: Model, students: Iterable[NamedStudent], settings: Recipe, *, reach: float = 1.0, num_steps: int = 6
) -> Iterator[pd.DataFrame]:
    """Yield, per model, the teacher first, a row per step h in [0, reach]: the root mean square change of x0 along the
    first direction of each noise, mean over the analysis noises (16 at most)."""
    config, sampling = settings.sensitivity, settings.sampling
    ids, noise, directions = analysis_noise(
        teacher, config, analysis_direction_kind(config), ids=analysis_ids(config)[:16]
    )
    prompts, steps = prompt_of(ids, sampling.prompts), torch.linspace(0, reach, num_steps).tolist()

    def curve(variant: str, seed: int, model: Model, denoise, count: int) -> pd.DataFrame:
        phi = noise_to_image_map(denoise, model.condition(prompts), num_steps=count)
        start, *moved = [phi(noise + h * directions[0]) for h in steps]
        change = [(end - start).square().flatten(1).mean(1).sqrt().mean().item() for end in (start, *moved)]
        return pd.DataFrame({"variant": variant, "seed": seed, "h": steps, "change": change})

    yield curve("teacher", 0, teacher, teacher.guided(sampling.guidance_scale), sampling.teacher_steps)
    for variant, seed, student in students:
        yield curve(variant, seed, student, student.denoiser, num_sampler_steps(student, sampling))
