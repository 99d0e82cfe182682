"""The teacher stage as its notebook runs it: the teacher is made and measured.

What a teacher lacks (a training log, points, images of captions) is empty.
"""

import pandas as pd
from torch import Tensor
from tqdm import tqdm

from gad.config import Recipe
from gad.data.emoji import seeds
from gad.data.emoji.caption_split import (
    caption_split_parts,
    evaluator_split_parts,
    share_of_captions_in_split,
    training_split_captions,
)
from gad.data.emoji.scenes import Prompt, make_scene_prompt
from gad.data.emoji.teacher import make_teacher
from gad.data.emoji.teacher_evaluation import HELD_OUT, teacher_evaluation_accuracy, teacher_test_prompts
from gad.runtime.files import write_json
from gad.runtime.paths import AUTOENCODERS, EMOJI, metrics_file, stage_dir

LAST_STEPS = 100  # over which the final loss is averaged


def train_or_link_teacher(settings: Recipe) -> pd.DataFrame:
    """Make the recipe's teacher; returns ``step`` and ``loss`` of its training, empty where nothing was trained."""
    section = settings.teacher
    trains = section.dataset == "emoji" and section.pretrained is None
    steps = make_teacher(section, stage_dir(settings.name, "teacher"), AUTOENCODERS[section.autoencoder])
    return pd.DataFrame(tqdm(steps, total=section.num_steps, mininterval=10, disable=not trains))


def _held_out_overlap(settings: Recipe, prompts: list[Prompt]) -> dict[str, float]:
    """Share of held-out captions, in [0, 1], whose words a teacher, an evaluator or a student saw together."""
    accept = training_split_captions(settings.teacher.captions)
    scenes, pairs = range(settings.teacher.num_scenes), range(settings.noise_pairs.num_pairs)
    learned = {caption_split_parts(make_scene_prompt(i, seed=seeds.TEACHER, accept=accept)) for i in scenes}
    distilled = {caption_split_parts(make_scene_prompt(i, seed=seeds.NOISE_PAIRS, accept=accept)) for i in pairs}
    shares = {"teacher": learned, "students": distilled, "evaluators": evaluator_split_parts()}
    return {
        f"{HELD_OUT}_words_seen_by_{name}": share_of_captions_in_split(prompts, seen) for name, seen in shares.items()
    }


def record_teacher(
    settings: Recipe, *, log: pd.DataFrame, points: dict[str, Tensor], images: dict[str, Tensor]
) -> dict[str, float]:
    """Write ``data/<recipe>/metrics/teacher.json`` and return it: the final loss and the evaluator's accuracies of a
    trained teacher, number and size of the Swiss roll's points, or nothing of a pretrained one."""
    metrics = {}
    if len(log):
        metrics = {"final_loss": log["loss"].tail(LAST_STEPS).mean()}
        for name, prompts in teacher_test_prompts(settings).items():
            found = teacher_evaluation_accuracy(images[name], prompts, EMOJI / "evaluators" / "detector")
            metrics |= {key if name == "teacher" else f"{name}_{key}": value for key, value in found.items()}
            metrics |= _held_out_overlap(settings, prompts) if name == HELD_OUT else {}
    elif points:
        data = points["data"]
        metrics = {"num_points": len(data), "rms": data.square().mean().sqrt().item()}
    write_json(metrics_file(settings.name, "teacher"), metrics)
    return metrics
