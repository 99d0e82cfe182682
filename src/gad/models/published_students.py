"""Students to hand on: whole diffusers folders in half precision, which need nothing else of a run.

``data/<recipe>/published/<variant>`` is committed, so that there are students to look at where none is trained.
"""

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from gad.config.stage_command import stage_command
from gad.config.variants import VARIANTS
from gad.diffusion.denoiser import NetworkDenoiser
from gad.models.lora import merge_lora
from gad.models.lora_students import lora_student_file, lora_student_scheduler
from gad.models.model import Model, load_model
from gad.models.own_times import load_own_timesteps, save_own_timesteps
from gad.models.sampler import NamedStudent
from gad.models.saved_folders import save_diffusers_pipeline
from gad.models.shared_parts import pipeline_with_parts
from gad.models.students import student_seed_dir
from gad.models.weights import weights_library_messages
from gad.runtime.atomic import atomic_write_path
from gad.runtime.files import read_json, write_json
from gad.runtime.paths import stage_dir

ORIGIN = "student.json"  # in a published folder: its recipe, variant, seed and number of sampling steps
DTYPE = torch.float16  # on the disk; stock loading computes in float32


def published_student_dir(recipe: str, variant: str) -> Path:
    """The folder of a recipe's published student of that variant."""
    return stage_dir(recipe, "published", variant)


def load_whole_student(recipe: str, variant: str, seed: int) -> Model:
    """A finished image student that shares no weights with anything; an adapter is merged into its teacher's network.

    Raises ValueError, in one line, where it is not trained, or is a 2-D one.
    """
    folder = student_seed_dir(stage_dir(recipe, "student", variant), seed)
    if not folder.is_dir():
        needed = stage_command(recipe, "student", variant)
        raise ValueError(f"recipe {recipe!r} has no finished student {variant!r} of seed {seed} here; run: {needed}")
    adapter = lora_student_file(folder)
    model = load_model(folder) if adapter is None else _merged(adapter, load_model(stage_dir(recipe, "teacher")))
    if model.pipeline is None:
        raise ValueError(
            f"students of recipe {recipe!r} are 2-D networks, no diffusers pipelines: name an image recipe"
        )
    return model


def _merged(adapter: Path, teacher: Model) -> Model:
    """The student that an adapter's file makes of a teacher, whose network is changed."""
    assert teacher.pipeline is not None and isinstance(teacher.denoiser, NetworkDenoiser), "adapters are for images"
    merge_lora(teacher.pipeline, adapter)
    load_own_timesteps(teacher.denoiser, adapter.parent)
    scheduler = lora_student_scheduler(adapter.parent, teacher.pipeline)
    return replace(teacher, pipeline=pipeline_with_parts(teacher.pipeline, scheduler=scheduler))


def save_published_student(student: Model, folder: Path, origin: dict) -> None:
    """Write a student that shares no weights in half precision, to which its networks are changed; whole or not at all.

    ``origin`` holds recipe, variant, seed and num_steps. Raises ValueError, in one line, for a weight that half
    precision cannot hold.
    """
    assert student.pipeline is not None, "2-D students have no pipeline"
    parts = {name: part for name, part in student.pipeline.components.items() if isinstance(part, nn.Module)}
    with weights_library_messages(), atomic_write_path(folder) as partial:
        for name, part in parts.items():
            if not all(weight.isfinite().all() for weight in part.to(DTYPE).parameters()):
                raise ValueError(f"{name} has weights beyond half precision's range: it cannot be published in it")
        save_diffusers_pipeline(student.pipeline, partial)
        save_own_timesteps(student.denoiser.schedule, partial)
        write_json(partial / ORIGIN, origin)


def load_published_students(recipe: str, teacher: Model) -> list[NamedStudent]:
    """Variant, seed and model of a recipe's published students, sharing what is the teacher's; none where none is."""
    found = []
    for variant in VARIANTS:
        folder = published_student_dir(recipe, variant)
        if (folder / ORIGIN).is_file():
            found.append((variant, int(read_json(folder / ORIGIN)["seed"]), load_model(folder, teacher=teacher)))
    return found
