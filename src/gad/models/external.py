"""External models as students: any diffusers pipeline of our classes, with its own sampler.

Such a model is run whole (:mod:`gad.models.external_sampler`) and stands in the tables of one-step students, whatever
number of steps it takes inside.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gad.config import Recipe
from gad.config.external import ExternalStudent
from gad.diffusion.schedule import FlowSchedule
from gad.models.external_pipeline import external_latent_shape, load_external_pipeline
from gad.models.external_sampler import ExternalSampler
from gad.models.model import Model
from gad.models.pipeline_schedule import pipeline_schedule
from gad.models.sampler import NamedStudent
from gad.models.shared_parts import share_equal_parts
from gad.models.text_encoding import pipeline_text_encoders, unconditional_text_encoding
from gad.runtime.devices import own_device

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import DiffusionPipeline
    from transformers import PreTrainedModel


def _reader(encoder: "PreTrainedModel | None") -> dict:
    """What makes a text encoder the one it is, as far as its config says."""
    sizes = ("hidden_size", "d_model", "vocab_size", "num_hidden_layers", "num_layers")
    config = getattr(encoder, "config", None)
    found = {size: getattr(config, size) for size in sizes if getattr(config, size, None) is not None}
    return {"class": type(encoder).__name__, **found}


def check_external_comparable(name: str, student: Model, teacher: Model) -> None:
    """Raise ValueError, in one line, for a student whose noises or prompts are not the teacher's."""
    if teacher.pipeline is None:
        raise ValueError(f"{name} cannot be compared with a 2-D teacher: it makes images")
    if student.latent_shape != teacher.latent_shape:
        shapes = f"{name} has latents of {student.latent_shape}, the teacher of {teacher.latent_shape}"
        raise ValueError(f"{shapes}; if it can make those, set latent_side")
    encoders = [pipeline_text_encoders(pipeline) for pipeline in (teacher.pipeline, student.pipeline)]
    for part in sorted({*encoders[0], *encoders[1]}):
        ours, theirs = (_reader(found.get(part)) for found in encoders)
        if ours != theirs:
            raise ValueError(
                f"{name} reads prompts with another text encoder ({theirs}) than the teacher's {part} ({ours})"
            )


def load_external_student(
    settings: ExternalStudent, teacher: Model, *, others: "Iterable[DiffusionPipeline]" = ()
) -> Model:
    """An external student ready for use, compared with the teacher first. Raises ValueError as its parts do.

    What is equal in the teacher or in pipelines of ``others`` is shared with them.
    """
    pipeline = load_external_pipeline(settings)
    share_equal_parts(pipeline, [teacher.pipeline, *others])
    uncond = None if settings.guidance_scale == 1 else unconditional_text_encoding(pipeline)
    shape, (times, _) = external_latent_shape(pipeline, settings), pipeline_schedule(pipeline.scheduler)
    if isinstance(times, FlowSchedule) and isinstance(teacher.denoiser.schedule, FlowSchedule):
        times = teacher.denoiser.schedule  # whose times may be shifted: equal times are equal noise levels
    student = Model(ExternalSampler(pipeline, settings, uncond, times), shape, pipeline)
    check_external_comparable(settings.name, student, teacher)
    return student


def load_external(settings: Recipe, teacher: Model, *, device: str = "cpu") -> list[NamedStudent]:
    """Name, 0 and model of every entry of the recipe's ``students``, as :func:`gad.models.students.load_students` gives
    ours.

    They are noise-to-image maps: their derivatives are measured with :func:`as_external` of the recipe.
    """
    found: list[NamedStudent] = []
    for entry in (entry for entry in settings.external_models if entry.kind != "first_step"):
        others = [model.pipeline for _, _, model in found]
        found.append((entry.name, 0, load_external_student(entry, teacher, others=others).on(own_device(device))))
    return found


def as_external(settings: Recipe) -> Recipe:
    """The recipe with one-step students, and derivatives by difference: how external students are measured.

    Stock schedulers are not written for forward mode; the difference is taken in float32.
    """
    pairs = settings.noise_pairs.model_copy(update={"student_steps": 1})
    sensitivity = settings.sensitivity.model_copy(update={"method": "difference"})
    return settings.model_copy(update={"noise_pairs": pairs, "sensitivity": sensitivity})
