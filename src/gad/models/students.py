"""Students of a recipe: where they start, where they are saved, and how they are loaded and sampled."""

from pathlib import Path

from gad.config import StudentConfig
from gad.config.stage_command import stage_command
from gad.config.variants import VARIANTS
from gad.diffusion.denoiser import NetworkDenoiser
from gad.diffusion.sampling import sampling_timesteps
from gad.models.adapter import adapter_config, adapter_on_shared_base, has_adapter
from gad.models.lora_students import reads_adapters, save_lora_student
from gad.models.mlp import PointNetwork, build_point_network, point_denoiser, save_point_network
from gad.models.model import Model, load_model
from gad.models.own_times import own_timestep_options, save_own_timesteps, stock_scheduler_of_student
from gad.models.pipelines import pipeline_family, pipeline_network, pipeline_sample_options
from gad.models.saved_folders import save_diffusers_pipeline
from gad.models.shared_parts import pipeline_with_parts
from gad.models.starting_student import load_starting_adapter, load_starting_student
from gad.runtime.atomic import atomic_write_path
from gad.runtime.devices import own_device
from gad.runtime.paths import stage_dir


def student_seed_dir(folder: Path, seed: int) -> Path:
    """The folder of a seed's student below its variant's folder."""
    return folder / f"seed_{seed}"


def finished_student_seeds(folder: Path) -> list[int]:
    """Seeds whose student stands in ``folder``, in order."""
    return sorted(int(path.name.removeprefix("seed_")) for path in folder.glob("seed_*"))


def student_usage_line(model: Model, num_steps: int) -> str:
    """How stock diffusers samples a saved student; which network a 2-D one is."""
    if model.pipeline is None:
        return "a 2-D network: gad.models.mlp"
    options = student_sample_options(model, num_steps)
    call = f"pipe(prompt, {', '.join(f'{key}={value!r}' for key, value in options.items())})"
    return _adapter_line(model) + call


def student_sample_options(model: Model, num_steps: int) -> dict:
    """The arguments beside the prompt with which stock diffusers samples an image student as we do."""
    from diffusers import FlowMatchEulerDiscreteScheduler  # here, since it takes seconds

    options = pipeline_sample_options(model.pipeline, model.image_side)
    options |= {"guidance_scale": 1.0, "num_inference_steps": num_steps}
    own = own_timestep_options(model.denoiser.schedule)
    if own:
        options |= own
    elif num_steps > 1 and isinstance(getattr(model.pipeline, "scheduler", None), FlowMatchEulerDiscreteScheduler):
        options["sigmas"] = sampling_timesteps(num_steps)[:-1].tolist()  # by itself it goes from 1 to 0.001, then to 0
    return options


def _adapter_line(model: Model) -> str:
    """How a teacher's pipeline ``pipe`` becomes the student in ``folder``; nothing for one that is a whole pipeline."""
    if model.pipeline is None or not has_adapter(pipeline_network(model.pipeline)):
        return ""
    scheduler = type(model.pipeline.scheduler).__name__
    name = pipeline_family(model.pipeline).network
    loaded = f"pipe.{name} = PeftModel.from_pretrained(pipe.{name}, folder)"
    if reads_adapters(model.pipeline):
        loaded = "pipe.load_lora_weights(folder)"
    return f"{loaded}; pipe.scheduler = {scheduler}.from_pretrained(folder, subfolder='scheduler'); "


def has_finished_student(recipe: str) -> bool:
    """Whether a recipe has a student that is finished."""
    return any(finished_student_seeds(stage_dir(recipe, "student", variant)) for variant in VARIANTS)


def load_students(recipe: str, teacher: Model, *, device: str = "cpu") -> list[tuple[str, int, Model]]:
    """Variant, seed and model of every finished student of a recipe, on ``device``, sharing what is the teacher's.

    Raises ValueError when there is none.
    """
    found, place = [], own_device(device)
    for variant in VARIANTS:
        folder = stage_dir(recipe, "student", variant)
        for seed in finished_student_seeds(folder):
            student = load_model(student_seed_dir(folder, seed), teacher=teacher).on(place)
            found.append((variant, seed, student))
    if not found:
        how = stage_command(recipe, "student", "baseline")
        raise ValueError(f"recipe {recipe!r} has no finished students; run: {how}")
    return found


def start_student(teacher: Model, config: StudentConfig, *, seed: int, student_steps: int = 1) -> NetworkDenoiser:
    """A student at initialisation: a copy of the teacher's network, or a fresh perceptron for the exact teacher; a
    student of ``student_steps`` that was distilled elsewhere; or an adapter on the teacher's own weights."""
    if not isinstance(teacher.denoiser, NetworkDenoiser):
        return point_denoiser(build_point_network(config.hidden, config.layers, seed=seed))
    given = config.start_student if config.start == "student" else None
    if config.lora is not None and given is not None:
        return load_starting_adapter(teacher, given, config.lora, student_steps=student_steps)
    if config.lora is not None:
        return adapter_on_shared_base(teacher.denoiser, adapter_config(config.lora), seed=seed)
    if given is not None:
        return load_starting_student(teacher, given, student_steps=student_steps)
    return teacher.denoiser.copied()


def save_student(student: NetworkDenoiser, teacher: Model, folder: Path) -> None:
    """A folder that :func:`gad.models.model.load_model` reads; a stock diffusers pipeline for text-to-image, or the
    adapter of one.

    Its scheduler walks our times, whatever the teacher came with, or the student's own ones.
    """
    if teacher.pipeline is None:
        assert isinstance(student.network, PointNetwork)
        return save_point_network(student.network, folder)
    scheduler = stock_scheduler_of_student(teacher.pipeline, student.schedule)
    with atomic_write_path(folder) as partial:
        if has_adapter(student.network):
            save_lora_student(student, teacher.pipeline, scheduler, partial)
        else:
            parts = {pipeline_family(teacher.pipeline).network: student.network, "scheduler": scheduler}
            save_diffusers_pipeline(pipeline_with_parts(teacher.pipeline, **parts), partial)
        save_own_timesteps(student.schedule, partial)
