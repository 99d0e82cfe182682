"""The noise-pair stage as its notebook runs it: pairs are made, shown and measured."""

import torch
from torch import Tensor
from tqdm import tqdm

from gad.config import NoisePairsConfig
from gad.data.noise_pairs import NoisePairs
from gad.data.pair_generation import generate_noise_pairs
from gad.data.prompts import prompt_of
from gad.models.model import Model
from gad.models.stage import Stage
from gad.runtime.files import write_json
from gad.runtime.fingerprint import fingerprint
from gad.runtime.paths import metrics_file, stage_dir

SHOWN = 8  # images of a row


def make_noise_pairs(stage: Stage[NoisePairsConfig]) -> NoisePairs:
    """The recipe's noise pairs, made where they are not finished yet."""
    config, teacher_hash = stage.section, fingerprint(stage_dir(stage.recipe, "teacher"))
    with tqdm(total=config.num_pairs, desc="noise pairs", mininterval=2) as bar:
        for done in generate_noise_pairs(stage.folder, stage.teacher, teacher_hash, config):
            bar.update(done - bar.n)
    return NoisePairs(stage.folder)


def finished_noise_pairs(stage: Stage) -> NoisePairs:
    """The recipe's finished noise pairs. Raises ValueError where they are another recipe's or another teacher's."""
    folder, teacher_hash = stage_dir(stage.recipe, "noise_pairs"), fingerprint(stage_dir(stage.recipe, "teacher"))
    return NoisePairs(folder, stage.settings.noise_pairs, teacher=teacher_hash)


def shown_pair_ids(teacher: Model, pairs: NoisePairs) -> Tensor:
    """The sample ids that a page shows: the first few of images, all of 2-D samples."""
    return torch.arange(min(SHOWN, len(pairs)) if teacher.pipeline else len(pairs))


def captions_of_pairs(pairs: NoisePairs, ids: Tensor) -> list[str]:
    """The caption of each sample id."""
    return prompt_of(ids, pairs.config.prompt_source)


def teacher_outputs_of_pairs(stage: Stage, pairs: NoisePairs) -> dict[str, Tensor]:
    """The teacher's output for both members of each pair that is shown, and for an independent noise."""
    ids = shown_pair_ids(stage.teacher, pairs)
    members = {"z": 0, "z'": 1, "independent": 1 + pairs.config.directions_per_noise}
    return {name: stage.teacher.decode(pairs.trajectories(ids, member)[:, -1]) for name, member in members.items()}


def record_noise_pairs(stage: Stage, pairs: NoisePairs) -> dict[str, float]:
    """Write ``data/<recipe>/metrics/noise_pairs.json`` and return it: how many there are, and E[mean((J_T v)²)]."""
    per_noise = 1 + 2 * pairs.config.directions_per_noise
    metrics = {"num_pairs": len(pairs), "num_trajectories": per_noise * len(pairs), "jvp_power": pairs.jvp_power()}
    write_json(metrics_file(stage.recipe, "noise_pairs"), metrics)
    return metrics
