"""The cache key of students, and new keys where a change of code has left the numbers as they were."""

from collections.abc import Iterator
from pathlib import Path

from gad.config import Recipe, StudentConfig, load_recipe, recipe_names
from gad.config.variants import VARIANTS
from gad.data.noise_pairs import NoisePairs
from gad.data.pair_generation import pair_generation_cache_key
from gad.distillation.training_loop import num_training_steps
from gad.distillation.training_record import NO_RESULT, check_training_record
from gad.runtime.fingerprint import fingerprint, stage_fingerprint
from gad.runtime.folder_lock import lock_folder_to
from gad.runtime.paths import project_path, stage_dir


def renew_cache_keys() -> Iterator[str]:
    """Yield a line for each folder that holds the work of the present code from now on.

    To be called when the present code is known to give the same numbers. Where its records do not fit the recipe (other
    settings, another teacher, a missing seed) a folder retains its old key, so that its stage makes it anew.
    """
    for name in recipe_names():
        try:
            yield from _renewed(load_recipe(name))
        except ValueError as error:
            yield f"{name}: left as it is: {error}"


def _renewed(settings: Recipe) -> Iterator[str]:
    folder, recipe = stage_dir(settings.name, "noise_pairs"), settings.name
    if not (folder / "manifest.json").exists():
        return
    teacher = fingerprint(stage_dir(recipe, "teacher"))
    pairs = NoisePairs(folder, settings.noise_pairs, teacher=teacher)
    lock_folder_to(folder, pair_generation_cache_key(settings.noise_pairs, teacher))
    yield f"{recipe}: noise pairs"
    students: Path = stage_dir(recipe, "student")
    check_training_record(settings, students)
    for variant in (name for name in VARIANTS if (students / name).exists()):
        lock_folder_to(students / variant, student_cache_key(settings.student, variant, pairs))
        yield f"{recipe}: students of {variant}"


def student_cache_key(config: StudentConfig, variant: str, pairs: NoisePairs) -> str:
    """The cache key of a variant's students and their held-out curves."""
    settings = config.model_copy(update={"num_steps": num_training_steps(config, variant)}).model_dump(
        exclude=NO_RESULT
    )
    curves = [] if config.validation is None else [config.validation.model_dump()]
    return stage_fingerprint("student", settings, variant, pairs.fingerprint, *curves, *_starting_files(config))


def _starting_files(config: StudentConfig) -> list[Path]:
    """The folder or file that students start from, where it is on this machine and not the hub's."""
    places = [] if config.start_student is None else [project_path(config.start_student.source)]
    return [place for place in places if place.exists()]
