"""The teacher stage as its notebook runs it: the teacher is made, looked at and measured.

What a teacher lacks (a training log, points, images of captions) is empty.
"""

import pandas as pd
from torch import Tensor
from tqdm import tqdm

from gad.config import Recipe
from gad.data.emoji.teacher import (
    make_teacher,
    sample_teacher_images,
    teacher_caption_accuracy,
    teacher_evaluation_prompts,
)
from gad.models.pipelines import load_pipeline
from gad.runtime.files import read_tensors, write_json
from gad.runtime.paths import EMOJI, metrics_file, stage_dir

LAST_STEPS = 100  # over which the final loss is averaged
SMOOTHING = 50  # steps, of the curve that is shown
SEEDS, CAPTIONS = 8, 4  # of the grid with the same noises in every row


def train_or_link_teacher(settings: Recipe) -> pd.DataFrame:
    """Make the recipe's teacher; returns ``step`` and ``loss`` of its training, empty where nothing was trained."""
    section = settings.teacher
    trains = section.dataset == "emoji" and section.pretrained is None
    steps = make_teacher(section, stage_dir(settings.name, "teacher"), EMOJI / "vae")
    return pd.DataFrame(tqdm(steps, total=section.num_steps, mininterval=10, disable=not trains))


def smoothed_teacher_log(log: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The log as :func:`gad.report.figures.training_curves` draws it, its loss a moving average."""
    if log.empty:
        return log
    return log.assign(matching=log["loss"].ewm(span=SMOOTHING).mean(), variant="teacher", seed=seed)


def teacher_data_points(settings: Recipe) -> dict[str, Tensor]:
    """The Swiss roll's points ``[N, 2]``, which are all that its teacher is made of."""
    path = stage_dir(settings.name, "teacher") / "points.safetensors"
    return {"data": read_tensors(path)["points"]} if path.exists() else {}


def teacher_test_captions() -> list[str]:
    """The captions that a teacher is measured by."""
    return [prompt.caption for prompt in teacher_evaluation_prompts()]


def teacher_caption_images(settings: Recipe, log: pd.DataFrame) -> dict[str, Tensor]:
    """An image for each test caption, ``[N, 3, 64, 64]``, by a teacher that was trained here."""
    if log.empty:
        return {}
    captions = teacher_test_captions()
    teacher, scale = load_pipeline(stage_dir(settings.name, "teacher")), settings.noise_pairs.guidance_scale
    images = sample_teacher_images(teacher, captions, range(len(captions)), guidance_scale=scale)
    return {"teacher": images}


def teacher_images_at_same_noises(settings: Recipe, log: pd.DataFrame) -> dict[str, Tensor]:
    """Images of the same seeds under each of the first captions, by caption."""
    if log.empty:
        return {}
    captions = teacher_test_captions()[:CAPTIONS]
    teacher, scale = load_pipeline(stage_dir(settings.name, "teacher")), settings.noise_pairs.guidance_scale
    repeated = [caption for caption in captions for _ in range(SEEDS)]
    images = sample_teacher_images(teacher, repeated, list(range(SEEDS)) * CAPTIONS, guidance_scale=scale)
    return dict(zip(captions, images.split(SEEDS), strict=True))


def record_teacher(
    settings: Recipe, *, log: pd.DataFrame, points: dict[str, Tensor], images: dict[str, Tensor]
) -> dict[str, float]:
    """Write ``data/<recipe>/metrics/teacher.json`` and return it: the final loss and the evaluator's accuracies of a
    trained teacher, number and size of the Swiss roll's points, or nothing of a pretrained one."""
    metrics = {}
    if len(log):
        metrics = {"final_loss": log["loss"].tail(LAST_STEPS).mean()}
        metrics |= teacher_caption_accuracy(
            images["teacher"], teacher_evaluation_prompts(), EMOJI / "evaluators" / "detector"
        )
    elif points:
        data = points["data"]
        metrics = {"num_points": len(data), "rms": data.square().mean().sqrt().item()}
    write_json(metrics_file(settings.name, "teacher"), metrics)
    return metrics
