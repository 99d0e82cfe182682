"""The committed long run of a recipe, and this run's numbers beside its."""

import shutil
from pathlib import Path

import pandas as pd

from gad.distillation.validation_log import CURVES, validation_images_of_seed
from gad.report.direction_kinds import direction_kinds, direction_kinds_read
from gad.report.format import format_mean
from gad.report.main_results import main_results
from gad.runtime.files import read_json, write_json
from gad.runtime.paths import REPORTS, RESULTS, stage_dir


def committed_results(recipe: str) -> dict | None:
    """The long run's metrics and provenance that came with the project, if there are any."""
    path = RESULTS / f"{recipe}.json"
    return read_json(path) if path.exists() else None


def save_committed_results(recipe: str) -> Path:
    """Copy a recipe's numbers and provenance to ``results/<recipe>.json``, to be committed; returns its path."""
    summary = read_json(REPORTS / recipe / "summary.json")
    path = RESULTS / f"{recipe}.json"
    write_json(path, {name: summary[name] for name in ("metrics", "contrasts", "provenance")})
    _save_held_out_curves(recipe)
    return path


def _save_held_out_curves(recipe: str) -> None:
    """Copy what was measured while students trained, where the recipe asks for it: ``<recipe>_curves.csv`` of all
    variants and seeds, and in ``<recipe>_images`` the first seed's last image grid of each variant."""
    curves, images = [], RESULTS / f"{recipe}_images"
    for path in sorted(stage_dir(recipe, "student").glob(f"*/{CURVES}")):
        variant = path.parent.name
        curves.append(pd.read_csv(path).assign(variant=variant))
        grids = sorted(validation_images_of_seed(path.parent, int(curves[-1]["seed"].iloc[0])).glob("*.png"))
        if grids:
            images.mkdir(exist_ok=True)
            shutil.copy(grids[-1], images / f"{variant}.png")
    if curves:
        pd.concat(curves).to_csv(RESULTS / f"{recipe}_curves.csv", index=False, float_format="%.6g")


def beside_committed_results(metrics: dict[str, dict], committed: dict) -> pd.DataFrame:
    """This run's headline means beside the committed long run's, with the difference."""
    rows = []
    for label, (stage, group, metric) in main_results(metrics).items():
        groups = [group] if group else direction_kinds_read(metric, direction_kinds(metrics[stage]))
        for kind in groups:
            for variant, values in metrics[stage].get(kind, {}).items():
                other = committed["metrics"][stage].get(kind, {}).get(variant, {}).get(metric)
                if metric in values and other and None not in (values[metric]["mean"], other["mean"]):
                    row = {"metric": label if len(groups) == 1 else f"{label}, {kind}", "variant": variant}
                    row |= {"this run": format_mean(values[metric]), "committed": format_mean(other)}
                    rows.append(row | {"difference": f"{values[metric]['mean'] - other['mean']:+.3g}"})
    return pd.DataFrame(rows)


def changed_since_committed_results(facts: dict, committed: dict) -> str:
    """One line that names the recipe's sections that are not as they were in the committed run, by their hashes.

    ``facts`` is this run's provenance. Where a section differs, so may the numbers, for that reason alone; a key that
    was added since, with its default, differs too. Sections that the committed run did not know are left out.
    """
    theirs = committed["provenance"]["section_hashes"]
    changed = [name for name, value in facts["section_hashes"].items() if theirs.get(name, value) != value]
    if not changed:
        return "the recipe is the committed run's"
    return f"sections of the recipe that differ from the committed run's: {', '.join(changed)}"
