"""A trained student of a recipe as a folder to hand on: weights in half precision and a model card.

``python -m gad.report.publishing`` writes the cards of all published students anew, by the present numbers.
"""

from pathlib import Path

from gad.config import load_recipe
from gad.config.stage_command import stage_command
from gad.config.variants import VARIANTS
from gad.models.model import Model, load_model
from gad.models.published_students import (
    ORIGIN,
    load_whole_student,
    published_student_dir,
    save_published_student,
)
from gad.report.committed_results import committed_results
from gad.report.main_results import main_result_metrics
from gad.report.model_card import card_place, model_card
from gad.runtime import paths
from gad.runtime.atomic import atomic_write_path
from gad.runtime.files import read_json
from gad.runtime.paths import REPORTS, metrics_file

STAGES = ("sensitivity", "fidelity", "control")
CARD = "README.md"


def publish_student(recipe: str, variant: str, seed: int | None = None, folder: Path | None = None) -> Path:
    """Write a finished student as a diffusers folder with a card, and return it; an earlier one there is replaced.

    ``seed`` is the recipe's first by default, ``folder`` data/<recipe>/published/<variant>. Raises ValueError, in one
    line, for a recipe, variant, student or metrics that are not there, and for a folder of something else.
    """
    settings = load_recipe(recipe)
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}; there are: {', '.join(VARIANTS)}")
    seed = settings.student.seeds_of(variant)[0] if seed is None else seed
    folder = folder or published_student_dir(recipe, variant)
    _check_replaceable(folder)
    origin = {"recipe": recipe, "variant": variant, "seed": seed, "num_steps": settings.noise_pairs.student_steps}
    published_metrics(recipe, variant)  # is there to report, before weights are read
    student = load_whole_student(recipe, variant, seed)
    card = _card(student, origin, folder)
    with atomic_write_path(folder) as partial:
        save_published_student(student, partial, origin)
        (partial / CARD).write_text(card, encoding="utf-8")
    return folder


def published_card(folder: Path) -> str:
    """The card that a published student's folder should have by the present numbers of its recipe."""
    return _card(load_model(folder), read_json(folder / ORIGIN), folder)


def published_students_here() -> list[Path]:
    """The folders of all students that are published below ``data``, in order."""
    return sorted(path.parent for path in paths.DATA.glob(f"*/published/*/{ORIGIN}"))


def _card(student: Model, origin: dict, folder: Path) -> str:
    settings, variant = load_recipe(origin["recipe"]), origin["variant"]
    metrics, facts = published_metrics(origin["recipe"], variant)
    return model_card(settings, variant, origin["seed"], student, metrics, facts, card_place(folder))


def _check_replaceable(folder: Path) -> None:
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / ORIGIN).is_file()):
        raise ValueError(f"{folder} holds something else than a published student: name a new folder")


def published_metrics(recipe: str, variant: str) -> tuple[dict[str, dict], dict]:
    """A variant's numbers by stage, from this run where it has them, else from ``results``; and their provenance.

    The provenance is that of ``results`` where these hold the same numbers, else that of this run's report, empty where
    none was made. Raises ValueError, in one line, where the variant has no numbers.
    """
    if all(metrics_file(recipe, stage).is_file() for stage in STAGES):
        metrics, summary = main_result_metrics(recipe), REPORTS / recipe / "summary.json"
        records = [committed_results(recipe) or {}, read_json(summary) if summary.is_file() else {}]
        made = [record for record in records if record.get("metrics", {}).items() >= metrics.items()]
        facts = made[0].get("provenance", {}) if made else {}
    else:
        committed = committed_results(recipe) or {}
        metrics, facts = committed.get("metrics", {}), committed.get("provenance", {})
    if not any(variant in group for group in metrics.get("sensitivity", {}).values()):
        raise ValueError(f"recipe {recipe!r} has no metrics of {variant!r}; run: {stage_command(recipe, 'report')}")
    return metrics, facts


def _renew_cards() -> None:
    for folder in published_students_here():
        (folder / CARD).write_text(published_card(folder), encoding="utf-8")


if __name__ == "__main__":
    _renew_cards()
