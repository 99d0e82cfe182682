"""The teacher stage as its notebook runs it: the teacher is made and measured.

What a teacher lacks (a training log, points, images of captions) is empty.
"""

import pandas as pd
from torch import Tensor
from tqdm import tqdm

from gad.config import Recipe
from gad.data.emoji.teacher import make_teacher
from gad.data.emoji.teacher_evaluation import (
    teacher_evaluation_accuracy,
    teacher_evaluation_prompts,
)
from gad.runtime.files import write_json
from gad.runtime.paths import EMOJI, metrics_file, stage_dir

LAST_STEPS = 100  # over which the final loss is averaged


def train_or_link_teacher(settings: Recipe) -> pd.DataFrame:
    """Make the recipe's teacher; returns ``step`` and ``loss`` of its training, empty where nothing was trained."""
    section = settings.teacher
    trains = section.dataset == "emoji" and section.pretrained is None
    steps = make_teacher(section, stage_dir(settings.name, "teacher"), EMOJI / "vae")
    return pd.DataFrame(tqdm(steps, total=section.num_steps, mininterval=10, disable=not trains))


def record_teacher(
    settings: Recipe, *, log: pd.DataFrame, points: dict[str, Tensor], images: dict[str, Tensor]
) -> dict[str, float]:
    """Write ``data/<recipe>/metrics/teacher.json`` and return it: the final loss and the evaluator's accuracies of a
    trained teacher, number and size of the Swiss roll's points, or nothing of a pretrained one."""
    metrics = {}
    if len(log):
        metrics = {"final_loss": log["loss"].tail(LAST_STEPS).mean()}
        metrics |= teacher_evaluation_accuracy(
            images["teacher"], teacher_evaluation_prompts(), EMOJI / "evaluators" / "detector"
        )
    elif points:
        data = points["data"]
        metrics = {"num_points": len(data), "rms": data.square().mean().sqrt().item()}
    write_json(metrics_file(settings.name, "teacher"), metrics)
    return metrics
