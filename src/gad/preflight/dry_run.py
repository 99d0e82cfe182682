"""Some steps of every stage with the published networks and random weights: what they cost, before any download.

Text encoders are not built: embeddings are random numbers of their shape, drawn from the prompt. Nothing that is
learned here means anything; times, memory and code paths do.
"""

import time
import zlib
from collections.abc import Callable
from os.path import isfile
from pathlib import Path

import torch

from gad.config import NoisePairsConfig, Recipe, StudentConfig
from gad.data.noise_pairs import NoisePairs
from gad.data.pair_generation import generate_noise_pairs
from gad.data.text_embeddings import encode_pair_prompts
from gad.diffusion.conditioning import Conditioning
from gad.diffusion.denoiser import NetworkDenoiser
from gad.diffusion.guidance import guided_denoiser_on_device
from gad.distillation.objective import build_objective
from gad.distillation.trainable import Trainable, teacher_copy_for_training
from gad.distillation.training_loop import train
from gad.models.model import Model
from gad.models.pipeline_loading import check_teacher_pipeline
from gad.models.pipelines import network_latent_shape
from gad.models.students import start_student
from gad.preflight.analysis_cost import analysis_folder_cost, control_cost, sensitivity_cost
from gad.preflight.architectures import Architecture, architecture_image_tokens, architecture_of, build_architecture
from gad.preflight.cost import Cost
from gad.preflight.flops import step_flops
from gad.preflight.timing import Timed
from gad.runtime.devices import forget_peak_memory, peak_memory_bytes
from gad.runtime.paths import project_path

PAIRS = 4  # noise pairs that the student's steps draw from
TIMED = 1  # step from which times are taken; the one before warms up
ANALYSES = {"sensitivity": sensitivity_cost, "control": control_cost}


def _synthetic_prompts(architecture: Architecture) -> Callable[[list[str]], Conditioning]:
    """A function from prompts to random embeddings of the text encoder's shape; equal prompts get equal ones."""

    def encode(prompts: list[str]) -> Conditioning:
        generators = [torch.Generator().manual_seed(zlib.crc32(prompt.encode())) for prompt in prompts]
        shape = (architecture.tokens, architecture.width)
        embeds = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
        mask = torch.ones(len(prompts), architecture.tokens, dtype=torch.int64) if architecture.masked else None
        return Conditioning(embeds, mask, embeds[:, 0, : architecture.pooled] if architecture.pooled else None)

    return encode


def random_teacher(
    architecture: Architecture, *, depth: int | None = None, size: int | None = None, shapes_only: bool = False
) -> Model:
    """The published network with random weights as a teacher, on the CPU as a loaded one is; with ``shapes_only`` it
    has no weights, on the device "meta"."""
    if shapes_only:
        network = build_architecture(architecture, depth=depth, size=size, device="meta")
    else:
        drawn_on = "cuda" if torch.cuda.is_available() else "cpu"  # a billion random weights take a CPU ten seconds
        network = build_architecture(architecture, depth=depth, size=size, device=drawn_on).to("cpu")
    schedule, parameterisation = architecture.schedule
    shape = network_latent_shape(architecture.family, network, "dry run", side=size)
    denoiser = NetworkDenoiser(network, architecture.family.call, schedule, parameterisation)
    return Model(denoiser, shape, encode=_synthetic_prompts(architecture))


def dry_run_pairs(settings: Recipe, num_pairs: int) -> NoisePairsConfig:
    """The recipe's pairs, fewer of them and with one network call a student step, of synthetic prompts."""
    nodes = settings.noise_pairs.student_steps
    changes = {"num_pairs": num_pairs, "shard_size": num_pairs, "teacher_steps": nodes, "prompts": None}
    return settings.noise_pairs.model_copy(update=changes)


def _pairs_cost(teacher: Model, settings: Recipe, folder: Path, tokens: int) -> Cost:
    """One batch of noise pairs, per network call of one noise's batch."""
    config = dry_run_pairs(settings, settings.noise_pairs.batch_size)
    start = time.perf_counter()
    list(generate_noise_pairs(folder, teacher, "dry run", config))
    seconds = time.perf_counter() - start
    calls = (1 + 2 * config.directions_per_noise) * config.student_steps
    doubled = 1 if config.guidance_scale == 1 else 2
    read = doubled * config.batch_size * tokens
    return Cost("noise_pairs", f"call of {config.batch_size}", seconds / calls, 0.0, read, peak_memory_bytes())


class _Asked(Timed):
    """Keeps the last input of the step: the student and a part of its batch."""

    def terms(self, student, part, generator, *shared):
        self.student, self.part = student, part
        return super().terms(student, part, generator, *shared)


def begin_training(
    teacher: Model, pairs: NoisePairs, config: StudentConfig, variant: str
) -> tuple[NetworkDenoiser, Trainable]:
    """A student that starts as the teacher, and its objective."""
    teacher = teacher_copy_for_training(teacher, config)
    student = start_student(teacher, config, seed=0)
    return student, build_objective(teacher, student, pairs, config, variant=variant, seed=0)


def dry_run_steps(
    settings: Recipe, variant: str, folder: Path, *, steps: int, teacher: Model, clock: Callable[..., Timed]
) -> Timed:
    """Train a variant for ``steps`` steps, and for those that warm up and that log, monitored by ``clock(objective,
    accumulate)``."""
    list(generate_noise_pairs(folder / "pairs", teacher, "dry run", dry_run_pairs(settings, PAIRS)))
    guided_denoiser_on_device(teacher.denoiser, "cpu")  # where a student's training finds it
    forget_peak_memory()  # a float32 UNet on a GPU takes more for its pairs than a student's step does
    pairs, count = NoisePairs(folder / "pairs"), TIMED + steps + 1
    config = settings.student.model_copy(update={"num_steps": count, "log_every": count, "checkpoint_every": count})
    student, objective = begin_training(teacher, pairs, config, variant)
    monitored, prompts = clock(objective, config.accumulate), encode_pair_prompts(teacher, pairs)
    list(train(student, monitored, pairs, prompts, config, variant=variant, seed=0, folder=folder / "student"))
    return monitored


def _student_cost(teacher: Model, settings: Recipe, folder: Path, tokens: int, *, variant: str, steps: int) -> Cost:
    """A training step of ``variant``: median over ``steps`` of them."""
    clock = dry_run_steps(settings, variant, folder, steps=steps, teacher=teacher, clock=_Asked)
    laps = [b - a for a, b in zip(clock.times[TIMED:-1], clock.times[TIMED + 1 :], strict=True)]
    seconds = torch.tensor(laps, dtype=torch.float64).median().item()
    size, flops = settings.student.batch_size, step_flops(clock.student, clock.objective, clock.part, settings.student)
    return Cost("student", f"step of {size}", seconds, flops, size * tokens, clock.peak)


def dry_run_teacher(settings: Recipe, *, depth: int | None, size: int | None, shapes_only: bool = False) -> Model:
    """The recipe's teacher with random weights, whole unless the recipe or ``depth`` and ``size`` reduce it;
    ``shapes_only`` as in :func:`random_teacher`.

    Raises ValueError, in one line, where the recipe names a folder that could not be loaded later.
    """
    folder = project_path(settings.teacher.pretrained or "")
    if isfile(folder / "model_index.json"):
        check_teacher_pipeline(folder, side=settings.teacher.latent_side)
    return random_teacher(
        architecture_of(settings.teacher.pretrained),
        depth=depth or settings.dry_run_depth,
        size=size or settings.teacher.latent_side,
        shapes_only=shapes_only,
    )


def dry_run_part(settings: Recipe, part: str, folder: Path, *, steps: int, depth: int | None, size: int | None) -> Cost:
    """The cost of ``noise_pairs``, ``folder``, ``sensitivity``, ``control``, or a training step of that variant."""
    teacher = dry_run_teacher(settings, depth=depth, size=size)
    size = size or settings.teacher.latent_side
    tokens = architecture_image_tokens(architecture_of(settings.teacher.pretrained), size)
    if part == "noise_pairs":
        return _pairs_cost(teacher, settings, folder, tokens)
    if part == "folder":
        return analysis_folder_cost(teacher, folder)
    if part in ANALYSES:
        return ANALYSES[part](teacher, settings, tokens)
    return _student_cost(teacher, settings, folder, tokens, variant=part, steps=steps)
