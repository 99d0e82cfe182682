"""What a trained emoji teacher is evaluated on: its images of test captions, and how often they are right."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from gad.config import Recipe
from gad.data.emoji import seeds
from gad.data.emoji.caption_accuracy import caption_accuracy
from gad.data.emoji.caption_split import evaluation_split_captions, training_split_captions
from gad.data.emoji.detector import load_emoji_detector
from gad.data.emoji.scenes import SIZE, Accept, Prompt, make_scene_prompt
from gad.data.emoji.text_encoders import MAX_TOKENS
from gad.models.pipeline_loading import load_pipeline
from gad.models.pipelines import pipeline_family
from gad.runtime.paths import stage_dir

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import DiffusionPipeline

EVALUATOR_STEPS = 20
HELD_OUT = "held_out"  # the name of what is measured on captions that no training has seen


SEEDS, CAPTIONS = 8, 4  # of the grid with the same noises in every row


def teacher_evaluation_prompts(count: int = 512, accept: Accept | None = None) -> list[Prompt]:
    """The captions that a teacher is evaluated on, of those that ``accept`` lets pass."""
    return [make_scene_prompt(i, seed=seeds.TEACHER_ACCURACY, accept=accept) for i in range(count)]


def teacher_test_prompts(settings: Recipe) -> dict[str, list[Prompt]]:
    """The captions that a teacher is measured by; where captions are split, also those that its training lacks."""
    captions = settings.teacher.captions
    prompts = {"teacher": teacher_evaluation_prompts(accept=training_split_captions(captions))}
    if captions == "split_by_words":
        prompts[HELD_OUT] = teacher_evaluation_prompts(accept=evaluation_split_captions(captions))
    return prompts


@torch.no_grad()
def _sample_pipeline(
    pipeline: "DiffusionPipeline",
    captions: list[str],
    seeds: Sequence[int],
    *,
    guidance_scale: float,
    batch_size: int = 64,
) -> Tensor:
    """Images ``[B, 3, 64, 64]`` in [-1, 1] by the stock pipeline, one generator per sample, from its seed."""
    options = dict(
        pipeline_family(pipeline).sample_options, height=SIZE, width=SIZE, num_inference_steps=EVALUATOR_STEPS
    )
    if options.get("use_resolution_binning") is not None:  # PixArt and SANA pad to 120 and 300 tokens otherwise
        options["max_sequence_length"] = MAX_TOKENS
    parts = []
    for start in range(0, len(captions), batch_size):
        part = slice(start, start + batch_size)
        generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds[part]]
        result = pipeline(
            captions[part], guidance_scale=guidance_scale, generator=generators, output_type="pt", **options
        )
        parts.append(2 * result.images.float() - 1)
    return torch.cat(parts)


def teacher_evaluation_accuracy(images: Tensor, prompts: list[Prompt], detector_folder: Path) -> dict[str, float]:
    """Share of images right by each measure, in [0, 1] (higher is better), over the prompts that it applies to."""
    accuracy = caption_accuracy(load_emoji_detector(detector_folder), images, prompts)
    return {name: right.nanmean().item() for name, right in accuracy.items()} | {"num_captions": len(prompts)}


def teacher_evaluation_images(settings: Recipe, log: pd.DataFrame) -> dict[str, Tensor]:
    """An image for each test caption, ``[N, 3, 64, 64]``, by a teacher that was trained here."""
    if log.empty:
        return {}
    teacher, scale = load_pipeline(stage_dir(settings.name, "teacher")), settings.noise_pairs.guidance_scale
    return {
        name: _sample_pipeline(
            teacher, [prompt.caption for prompt in prompts], range(len(prompts)), guidance_scale=scale
        )
        for name, prompts in teacher_test_prompts(settings).items()
    }


def teacher_evaluation_seed_grid(settings: Recipe, log: pd.DataFrame) -> dict[str, Tensor]:
    """Images of the same seeds under each of the first captions, by caption."""
    if log.empty:
        return {}
    captions = [prompt.caption for prompt in teacher_test_prompts(settings)["teacher"][:CAPTIONS]]
    teacher, scale = load_pipeline(stage_dir(settings.name, "teacher")), settings.noise_pairs.guidance_scale
    repeated = [caption for caption in captions for _ in range(SEEDS)]
    images = _sample_pipeline(teacher, repeated, list(range(SEEDS)) * CAPTIONS, guidance_scale=scale)
    return dict(zip(captions, images.split(SEEDS), strict=True))
