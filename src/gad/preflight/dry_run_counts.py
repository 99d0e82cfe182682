"""FLOPs and memory of a recipe's training step, counted from shapes: no weights are drawn, so any network fits any
machine."""

from dataclasses import fields, replace
from pathlib import Path

import torch

from gad.config import Recipe
from gad.data.noise_pairs import NoisePairs
from gad.data.pair_generation import generate_noise_pairs
from gad.data.text_embeddings import encode_pair_prompts
from gad.diffusion.conditioning import Conditioning
from gad.diffusion.denoiser import NetworkDenoiser
from gad.diffusion.schedule import Schedule
from gad.diffusion.shapes import Latent, PerSample
from gad.distillation.batch import Batch
from gad.distillation.batch_source import draw_batch
from gad.distillation.monitor import PROBE_PAIRS, Monitor, probe_part
from gad.distillation.other_pairs import batch_with_other_pairs
from gad.distillation.targets import ComparedOutput
from gad.distillation.trainable import Trainable
from gad.preflight.dry_run import begin_training, dry_run_pairs, dry_run_teacher
from gad.preflight.flops import step_flops
from gad.preflight.step_memory import monitor_peak_bytes, step_peak_bytes


class _Half:
    """A denoiser that halves its input: a teacher where nothing but shapes counts."""

    def __init__(self, schedule: Schedule):
        self.schedule = schedule

    def __call__(self, x_t: Latent, t: PerSample, conditioning: Conditioning | None = None) -> Latent:
        return x_t / 2


def _first_step(
    settings: Recipe, variant: str, folder: Path, *, depth: int | None, size: int | None
) -> tuple[NetworkDenoiser, Trainable, Batch, Monitor]:
    """Student and objective without weights, a step's batch, and what a log asks the student; GAD at every step."""
    teacher = dry_run_teacher(settings, depth=depth, size=size, shapes_only=True)
    config = settings.student.model_copy(update={"gad_fraction": 1.0})
    silent = replace(teacher, denoiser=_Half(teacher.denoiser.schedule))
    list(generate_noise_pairs(folder / "pairs", silent, "dry run", dry_run_pairs(settings, PROBE_PAIRS)))
    pairs = NoisePairs(folder / "pairs")
    prompts = encode_pair_prompts(teacher, pairs)
    if prompts is not None:
        prompts = prompts.embeds_in(getattr(torch, config.dtype))  # as they are kept
    student, objective = begin_training(teacher, pairs, config, variant)
    batch = draw_batch(
        pairs,
        prompts,
        student.schedule,
        variant=variant,
        batch_size=config.batch_size,
        key=(0, 0),
        misaligned=config.misaligned,
    )
    batch = batch_with_other_pairs(batch, variant, config.target)
    compared = ComparedOutput(config.target, pairs.config.student_steps)
    monitor = Monitor(pairs, prompts, student.schedule, compared=compared, part=probe_part(config))
    return student, objective, batch, monitor


def dry_run_flops(settings: Recipe, variant: str, folder: Path, *, depth: int | None, size: int | None) -> float:
    """FLOPs of a training step of ``variant``, one that has GAD where a share of the steps does."""
    student, objective, batch, _ = _first_step(settings, variant, folder, depth=depth, size=size)
    return step_flops(student, objective, batch.split(settings.student.parts_of(1))[0], settings.student)


def dry_run_peaks(
    settings: Recipe, variant: str, folder: Path, *, depth: int | None, size: int | None
) -> dict[str, int]:
    """Most bytes at once beside what :func:`gad.preflight.estimate.training_memory_bytes` counts, while ``variant``
    trains: of a ``step``, of the answers of a ``log`` after it, and the ``batch``, which is there in both.

    ``log`` is without the gradients, which are gone by then. Of the student's sampling steps two are walked, unless the
    gradient goes through all of them: the others come after one another and take no more.
    """
    student, config = settings.student, settings.student.model_copy(update={"auxiliary_updates": 1})
    steps = settings.noise_pairs.student_steps
    if student.target != "end_to_end" or student.end_to_end_gradient != "all_calls":
        steps = min(steps, 2)
    pairs = settings.noise_pairs.model_copy(update={"student_steps": steps})
    settings = settings.model_copy(update={"student": config, "noise_pairs": pairs})
    network, objective, batch, monitor = _first_step(settings, variant, folder, depth=depth, size=size)
    step = step_peak_bytes(network, objective, batch.split(config.parts_of(1))[0], config)
    learning = [*network.parameters(), *([] if objective.auxiliary is None else objective.auxiliary.parameters())]
    gradients = sum(parameter.grad.nbytes for parameter in learning if parameter.grad is not None)
    log = max(0, monitor_peak_bytes(network, monitor) - gradients)
    return {"step": step, "log": log, "batch": _batch_bytes(batch)}


def _batch_bytes(batch: Batch) -> int:
    """Bytes of a whole batch, whose parts are all on the device while one of them is computed."""
    values = [getattr(batch, field.name) for field in fields(batch)]
    values += [tensor for value in values if isinstance(value, Conditioning) for tensor in value.tensors.values()]
    return sum(value.nbytes for value in values if isinstance(value, torch.Tensor))
