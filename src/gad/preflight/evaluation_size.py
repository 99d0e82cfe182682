"""How much the stages `sensitivity`, `fidelity` and `control` will ask of the networks: images, calls and disk."""

from collections.abc import Iterator

from gad.config import Recipe
from gad.config.fidelity import PIXELS
from gad.evaluation.sensitivity.seed_classifiers import SIDE
from gad.metrics.image_features import FEATURES
from gad.preflight.finding import Finding

GENEVAL_PROMPTS = 553  # of the published file
CLASSIFIER_SIDE = 224  # pixels that image classifiers of transformers are asked at


def estimate_evaluation_images(settings: Recipe) -> dict[str, int]:
    """Images that each model makes, by section; those of inversion, negative prompts and the steps that move noises
    are not counted."""
    analysis, control = settings.sensitivity, settings.control
    images = {"diversity": control.diversity.num_prompts * control.diversity.seeds_per_prompt}
    if control.noise_query is not None:  # each model's own library, and four noises of each query
        images["noise_query"] = control.noise_query.library_size + 4 * control.noise_query.num_queries
    if control.layout is not None:  # random, optimised and the teacher's noise
        images["layout"] = 3 * control.layout.num_prompts
    if control.composition is not None:
        prompts = control.composition.num_prompts or GENEVAL_PROMPTS
        images["composition"] = prompts * control.composition.images_per_prompt
    if analysis.fidelity is not None:
        images["fidelity"] = analysis.fidelity.num_images
    if analysis.seeds is not None:
        images["seeds"] = analysis.seeds.num_seeds * analysis.seeds.num_prompts
    return images


def estimate_calls_per_image(settings: Recipe) -> dict[str, int]:
    """Network calls of an image of the ``teacher``, whose guidance takes two at a step, and of a ``student``."""
    doubled = 1 if settings.noise_pairs.guidance_scale == 1 else 2
    return {"teacher": doubled * settings.noise_pairs.teacher_steps, "student": settings.noise_pairs.student_steps}


def estimate_evaluation_disk(settings: Recipe) -> dict[str, float]:
    """Gigabytes that a model's images leave in the cache while a stage runs, by section; images are not kept."""
    images, seeds = estimate_evaluation_images(settings), settings.sensitivity.seeds
    disk = {"fidelity": 4 * FEATURES * images.get("fidelity", 0) / 1e9}
    if seeds is not None:  # as the classifier wants them, in float32
        values = 6 * SIDE**2 if seeds.classifier == PIXELS else 3 * CLASSIFIER_SIDE**2
        disk["seeds"] = 4 * values * images["seeds"] / 1e9
    return disk


def check_evaluation_size(settings: Recipe) -> Iterator[Finding]:
    """A line with images, calls and disk for each part of the evaluation, for teachers that are not made here."""
    if settings.teacher.pretrained is None:
        return
    calls, disk = estimate_calls_per_image(settings), estimate_evaluation_disk(settings)
    seeds = {variant: len(settings.student.seeds_of(variant)) for variant in settings.variants}
    students = sum(seeds.values())
    first = sum(seeds[entry.source] for entry in settings.external_models if entry.kind == "first_step")
    for name, count in estimate_evaluation_images(settings).items():
        asked = (
            f"{calls['teacher'] * count / 1e3:.1f}k calls of the teacher, {calls['student'] * count / 1e3:.1f}k of each"
        )
        cached = f", {disk[name]:.2f} GB of disk a model" if name in disk else ""
        yield Finding("ok", f"evaluation, {name}: {count} images a model, {asked} of {students} students{cached}")
    if first:
        share = calls["teacher"] // calls["student"]
        what = f"as much of {first} students with the teacher's first step, {share} calls for the one that it takes"
        yield Finding("ok", f"evaluation: {what}")
    yield Finding("ok", "hours of evaluation: calls times the seconds of one, by benchmarks/full_scale.py")
