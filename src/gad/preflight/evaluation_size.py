"""How much the stages `sensitivity`, `fidelity` and `control` will ask of the networks: images, calls and disk."""

from collections.abc import Iterator

from gad.config import Recipe
from gad.metrics.image_features import FEATURES
from gad.preflight.finding import Finding


def estimate_evaluation_images(settings: Recipe) -> dict[str, int]:
    """Images that each model makes, by section; those of single samples (inversion, layout, ...) are few beside."""
    analysis, control = settings.sensitivity, settings.control
    images = {"diversity": control.diversity.num_prompts * control.diversity.seeds_per_prompt}
    if analysis.fidelity is not None:
        images["fidelity"] = analysis.fidelity.num_images
    if analysis.seeds is not None:
        images["seeds"] = analysis.seeds.num_seeds * analysis.seeds.num_prompts
    return images


def estimate_calls_per_image(settings: Recipe) -> dict[str, int]:
    """Network calls of an image of the ``teacher``, whose guidance takes two at a step, and of a ``student``."""
    doubled = 1 if settings.noise_pairs.guidance_scale == 1 else 2
    return {"teacher": doubled * settings.noise_pairs.teacher_steps, "student": settings.noise_pairs.student_steps}


def check_evaluation_size(settings: Recipe) -> Iterator[Finding]:
    """A line with images, calls and disk of evaluation, for teachers that are not made here."""
    if settings.teacher.pretrained is None:
        return
    images, calls = estimate_evaluation_images(settings), estimate_calls_per_image(settings)
    students = sum(len(settings.student.seeds_of(variant)) for variant in settings.variants)
    each = ", ".join(f"{name} {count}" for name, count in images.items())
    total = sum(images.values())
    asked = f"{calls['teacher'] * total / 1e3:.0f}k calls of the teacher, {calls['student'] * total / 1e3:.0f}k of each"
    disk = 4 * FEATURES * images.get("fidelity", 0) / 1e9
    yield Finding(
        "ok",
        f"evaluation: {total} images a model ({each}), {asked} of {students} students; "
        f"about {disk:.2f} GB of cached features, images are not kept; "
        "hours: calls times the seconds of one, by benchmarks/full_scale.py",
    )
