"""What a page shows of noise pairs: ids, captions and outputs of the first few."""

import torch
from torch import Tensor

from gad.data.noise_pairs import NoisePairs
from gad.data.prompts import prompt_of
from gad.diffusion.sampling import sample
from gad.models.model import Model
from gad.models.stage import Stage

SHOWN = 8  # images of a row


def shown_noise_pair_ids(teacher: Model, pairs: NoisePairs) -> Tensor:
    """The sample ids that a page shows: the first few of images, all of 2-D samples."""
    return torch.arange(min(SHOWN, len(pairs)) if teacher.pipeline else len(pairs))


def shown_noise_pair_captions(pairs: NoisePairs, ids: Tensor) -> list[str]:
    """The caption of each sample id."""
    return prompt_of(ids, pairs.config.prompt_source)


def shown_noise_pair_outputs(stage: Stage, pairs: NoisePairs) -> dict[str, Tensor]:
    """The teacher's output for both members of each pair that is shown, and for an independent noise."""
    ids = shown_noise_pair_ids(stage.teacher, pairs)
    members = {"z": 0, "z'": 1, "independent": 1 + pairs.config.directions_per_noise}
    return {name: stage.teacher.decode(pairs.trajectories(ids, member)[:, -1]) for name, member in members.items()}


@torch.no_grad()
def shown_noise_pair_student_outputs(stage: Stage, pairs: NoisePairs, student: Model, name: str) -> dict[str, Tensor]:
    """What the teacher and the student, under its ``name``, make of the same noises."""
    teacher, ids = stage.teacher, shown_noise_pair_ids(stage.teacher, pairs)
    states, prompts = pairs.trajectories(ids, 0), student.condition(shown_noise_pair_captions(pairs, ids))
    ours = sample(student.denoiser, states[:, 0], prompts, num_steps=pairs.config.student_steps)
    return {"teacher": teacher.decode(states[:, -1]), name: student.decode(ours[-1])}
