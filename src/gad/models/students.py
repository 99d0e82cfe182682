"""Students of a recipe: where they start, where they are saved, and how they are loaded and sampled."""

from pathlib import Path

from gad.config import StudentConfig
from gad.config.variants import VARIANTS
from gad.diffusion.denoiser import NetworkDenoiser
from gad.diffusion.sampling import sampling_timesteps
from gad.models.mlp import PointNetwork, build_point_network, point_denoiser, save_point_network
from gad.models.model import Model, load_model
from gad.models.pipelines import pipeline_family, pipeline_network, pipeline_stock_scheduler, save_diffusers_pipeline
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
    from diffusers import FlowMatchEulerDiscreteScheduler  # here, since it takes seconds

    options = dict(pipeline_family(model.pipeline).sample_options, guidance_scale=1.0, num_inference_steps=num_steps)
    if num_steps > 1 and isinstance(model.pipeline.scheduler, FlowMatchEulerDiscreteScheduler):
        options["sigmas"] = sampling_timesteps(num_steps)[:-1].tolist()  # by itself it goes from 1 to 0.001, then to 0
    return f"pipe(prompt, {', '.join(f'{key}={value!r}' for key, value in options.items())})"


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
        raise ValueError(f"recipe {recipe!r} has no finished students; run: dvc repro student@{recipe}-baseline")
    return found


def start_student(teacher: Model, config: StudentConfig, *, seed: int) -> NetworkDenoiser:
    """A student at initialisation: a copy of the teacher's network, or a fresh perceptron for the exact teacher."""
    if not isinstance(teacher.denoiser, NetworkDenoiser):
        return point_denoiser(build_point_network(config.hidden, config.layers, seed=seed))
    return teacher.denoiser.copied()


def save_student(student: NetworkDenoiser, teacher: Model, folder: Path) -> None:
    """A folder that :func:`gad.models.model.load_model` reads; a stock diffusers pipeline for text-to-image.

    Its scheduler walks our times, whatever the teacher came with.
    """
    if teacher.pipeline is None:
        assert isinstance(student.network, PointNetwork)
        return save_point_network(student.network, folder)
    name = pipeline_family(teacher.pipeline).network
    original = {name: pipeline_network(teacher.pipeline), "scheduler": teacher.pipeline.scheduler}
    teacher.pipeline.register_modules(
        **{name: student.network, "scheduler": pipeline_stock_scheduler(teacher.pipeline)}
    )
    try:
        save_diffusers_pipeline(teacher.pipeline, folder)
    finally:
        teacher.pipeline.register_modules(**original)
