"""The main numbers of a recipe, by subject: where its metrics files hold them, and their tables."""

from collections.abc import Iterator

import pandas as pd

from gad.config.stage_command import stage_command
from gad.config.variants import VARIANTS
from gad.report.direction_kinds import direction_kind_title, direction_kinds
from gad.report.format import format_cell, format_unbroken
from gad.runtime.files import read_json
from gad.runtime.paths import metrics_file

Place = tuple[str, str | None, str]  # stage, group of its metrics (None: each kind of direction), metric

OUTPUTS: dict[str, Place] = {
    "map error": ("sensitivity", None, "pointwise_mse"),
    "median map error": ("sensitivity", None, "map_error_median"),
    "trajectory deviation at t = 0": ("sensitivity", "trajectory", "deviation at t = 0"),
    "Fréchet distance to the teacher's images": ("fidelity", "fidelity", "frechet_to_teacher"),
    "kernel distance to the teacher's images": ("fidelity", "fidelity", "kernel_to_teacher"),
    "object accuracy, control prompts": ("control", "over_seeds", "object_accuracy"),
}
RESPONSE: dict[str, Place] = {
    "JVP cosine": ("sensitivity", None, "jvp_cosine"),
    "Jacobian norm ratio": ("sensitivity", None, "jacobian_norm_ratio"),
    "spectral KL": ("sensitivity", None, "spectral_kl"),
    "median gain": ("sensitivity", None, "gain_median"),
}
SEEDS_AND_MODES: dict[str, Place] = {
    "seed identification accuracy": ("sensitivity", "seeds", "seed_identification_accuracy"),
    "teacher-trained seed accuracy": ("sensitivity", "seeds", "teacher_trained_seed_accuracy"),
    "seed retrieval accuracy": ("control", "over_seeds", "seed_retrieval_accuracy"),
    "mode coverage": ("control", "over_seeds", "mode_coverage"),
    "entropy of the mode coverage": ("control", "over_seeds", "mode_entropy"),
    "Vendi (EffLite0)": ("control", "over_seeds", "vendi"),
}
LAYOUT: dict[str, Place] = {
    "layout AP50, random noise": ("control", "over_seeds", "ap50_random"),
    "layout AP50, optimised noise": ("control", "over_seeds", "ap50_optimised"),
    "layout AP50, teacher's optimised noise": ("control", "over_seeds", "ap50_teacher"),
}
COMPOSITION: dict[str, Place] = {"composition, mean over tags": ("control", "over_seeds", "composition")}
OPTIMISED_NOISE: dict[str, Place] = {
    "CLIP score, fresh noise": ("control", "over_seeds", "query_clip_score_none"),
    "CLIP score, random noise": ("control", "over_seeds", "query_clip_score_random"),
    "CLIP score, retrieved noise": ("control", "over_seeds", "query_clip_score_retrieved"),
    "CLIP score, own library": ("control", "over_seeds", "query_clip_score_own"),
    "low-level requests, rank correlation": ("control", "over_seeds", "attribute_rank_correlation"),
    "distance to target, random noise": ("control", "over_seeds", "query_target_distance_random"),
    "distance to target, retrieved noise": ("control", "over_seeds", "query_target_distance_retrieved"),
    "gain by noise optimisation": ("control", "over_seeds", "optimised_gain"),
    "gain with the teacher's optimised noise": ("control", "over_seeds", "optimised_gain_teachers_noise"),
}


def main_results(metrics: dict[str, dict]) -> dict[str, Place]:
    """The main numbers of a recipe by label, the fidelity scores among them by whatever name the recipe gives them."""
    return _outputs(metrics) | RESPONSE | SEEDS_AND_MODES | LAYOUT | COMPOSITION | OPTIMISED_NOISE


def main_result_tables(metrics: dict[str, dict]) -> dict[str, pd.DataFrame]:
    """The main numbers as a table per subject, by its title: a row per model, a column per metric.

    A cell is the mean over student seeds with its 95 % interval, or one student's number where ``seeds`` is 1. The
    teacher, first where it has the metric, has no seeds.
    """
    tables = {title: _table(metrics, places, kind) for title, places, kind in _subjects(metrics)}
    return {title: table for title, table in tables.items() if len(table)}


def _outputs(metrics: dict[str, dict]) -> dict[str, Place]:
    models = metrics["fidelity"].get("fidelity", {}).values()
    scores = dict.fromkeys(name for numbers in models for name in numbers if "_to_" not in name)
    return OUTPUTS | {name: ("fidelity", "fidelity", name) for name in scores}


def _subjects(metrics: dict[str, dict]) -> Iterator[tuple[str, dict[str, Place], str]]:
    """Title, numbers, and the kind of direction at which those of every kind are read."""
    kinds = direction_kinds(metrics["sensitivity"])
    yield "Outputs", _outputs(metrics), kinds[0]
    for kind in kinds:
        yield f"Response to the noise, {direction_kind_title(kind)}", RESPONSE, kind
    yield "Seeds and modes", SEEDS_AND_MODES, ""
    yield "Layout through the noise", LAYOUT, ""
    yield "Composition of objects", COMPOSITION, ""
    yield "Noise that was retrieved or optimised", OPTIMISED_NOISE, ""


def _table(metrics: dict[str, dict], places: dict[str, Place], kind: str) -> pd.DataFrame:
    rows: dict[str, dict[str, str]] = {}
    for label, (stage, group, metric) in places.items():
        for model, values in metrics[stage].get(group or kind, {}).items():
            if metric in values and values[metric]["mean"] is not None:
                seeds = "" if model == "teacher" else str(values[metric]["n"])
                shown = format_unbroken(format_cell(values[metric]))
                rows.setdefault(model, {"model": model, "seeds": seeds})[label] = shown
    ours = [name for name in ("teacher", *VARIANTS) if name in rows]
    order = [*ours, *(name for name in rows if name not in ours)]
    columns = ["model", "seeds", *places]
    table = pd.DataFrame([rows[name] for name in order], columns=columns)
    return table.dropna(axis="columns", how="all").fillna("")


def main_result_metrics(recipe: str) -> dict[str, dict]:
    """The metrics of the stages `sensitivity`, `fidelity` and `control` of this run.

    Raises ValueError, in one line, where a stage has not run.
    """
    files = {stage: metrics_file(recipe, stage) for stage in ("sensitivity", "fidelity", "control")}
    for stage, file in files.items():
        if not file.exists():
            raise ValueError(f"{recipe} has no numbers of {stage} yet; run: {stage_command(recipe, stage)}")
    return {stage: read_json(file) for stage, file in files.items()}
