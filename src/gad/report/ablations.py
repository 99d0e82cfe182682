"""Ablations: a recipe with a few keys changed, one experiment each, and the table that their metrics make."""

import json
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError

from gad.config import RecipeError, Section, load_recipe
from gad.config.recipe import recipe_validation_message
from gad.config.stage_graph import GRAPH
from gad.config.variants import VARIANTS
from gad.config.yaml_file import read_recipe_sections
from gad.runtime.fingerprint import fingerprint
from gad.runtime.paths import RECIPES, RESULTS, ROOT

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    import pandas as pd

ABLATIONS = ROOT / "pipelines" / "ablations.yaml"
RETAINED = "_retained"  # ends the name of an ablation's second table
QUICK = "_quick"  # ends the names of experiments and tables that were trained for a shorter time

Setting = dict[str, object]
"""A recipe's keys, as ``section.key`` or ``section.key.name``, and their values."""

METRICS = {  # column: stage, metric
    "map error, median": ("sensitivity", "map_error_median"),
    "JVP cosine": ("sensitivity", "jvp_cosine"),
    "median gain": ("sensitivity", "gain_median"),
    "seed retrieval accuracy": ("control", "seed_retrieval_accuracy"),
    "object accuracy": ("fidelity", "object_accuracy"),
    "mode coverage": ("control", "mode_coverage"),
    "Vendi (EffLite0)": ("control", "vendi"),
}
PAIRED = ("map error, median", "JVP cosine")  # for these also the difference to the baseline at equal seeds


class Ablation(Section):
    """Experiments on one recipe. Only ``variants`` are trained; ``quick`` are the further changes of a quick run.

    ``retained``: a second table shows what the further settings keep of the first one's gain
    (:mod:`gad.report.retained_gain`). ``noises``: what the table is measured on; with ``validation`` no analysis runs,
    and the recipe's students have held-out curves (:mod:`gad.report.validation_sweep`).
    """

    title: str
    recipe: str
    variants: list[str] = ["baseline", "gad"]
    common: Setting = {}
    quick: Setting = {}
    settings: list[Setting] = Field(min_length=1)
    retained: bool = False
    noises: Literal["test", "validation"] = "test"

    def shortened(self) -> "Ablation":
        """The same with the changes of a quick run."""
        return self.model_copy(update={"common": self.common | self.quick})


def load_ablations(path: Path = ABLATIONS) -> dict[str, Ablation]:
    """Every ablation by its name. Raises RecipeError in one line for a fault, also for a key that no recipe has."""
    ablations = {}
    for name, values in read_recipe_sections(path, path.name).items():
        try:
            ablations[name] = Ablation.model_validate(values)
        except ValidationError as error:
            raise RecipeError(f"ablation {name}: {recipe_validation_message(error, Ablation)}") from error
        _check_settings(name, ablations[name])
        _check_settings(name, ablations[name].shortened())
    return ablations


def _check_settings(name: str, ablation: Ablation) -> None:
    """Raises RecipeError, in one line, where the recipe with a setting's changes would be refused."""
    recipe = load_recipe(ablation.recipe)
    unknown = sorted(set(ablation.variants) - set(VARIANTS))
    if unknown or "baseline" not in ablation.variants:
        raise RecipeError(f"ablation {name}: {f'unknown variant {unknown[0]}' if unknown else 'baseline is missing'}")
    if ablation.noises == "validation" and recipe.student.validation is None:
        raise RecipeError(f"ablation {name}: recipe {ablation.recipe} has no student.validation to measure on")
    if ablation.noises == "validation" and ablation.retained:
        raise RecipeError(f"ablation {name}: retained has no effect with noises: validation")
    for setting in ablation.settings:
        values = recipe.model_dump() | {"variants": ablation.variants}
        for key, value in (ablation.common | setting).items():
            *path, last = key.split(".")
            try:
                reduce(getitem, path, values)[last] = value
            except (KeyError, TypeError) as error:
                raise RecipeError(f"ablation {name}: recipe {ablation.recipe} has no key {key}") from error
        try:
            type(recipe).model_validate(values)
        except ValidationError as error:
            raise RecipeError(
                f"ablation {name}: {setting}: {recipe_validation_message(error, type(recipe))}"
            ) from error


def ablation_experiment_name(name: str, ablation: Ablation, setting: Setting) -> str:
    """What DVC calls the experiment: the ablation's name and a hash of all that it changes."""
    return f"{name}-{fingerprint(ablation.recipe, ablation.variants, ablation.common | setting)[:8]}"


def ablation_overrides(ablation: Ablation, setting: Setting, trained: list[str]) -> list[str]:
    """The changes as ``dvc exp run -S`` takes them; ``trained`` are the recipe's variants.

    ++ sets a key whether the recipe's file names it or leaves it at its default; ~ drops a variant. Variants that the
    recipe does not train are added to it.
    """
    file, graph = f"{RECIPES.relative_to(ROOT)}/{ablation.recipe}.yaml", f"{GRAPH.relative_to(ROOT)}"
    dropped = [variant for variant in trained if variant not in ablation.variants]
    added = [variant for variant in ablation.variants if variant not in trained]
    student = f"{graph}:++students.{ablation.recipe}-{{0}}={{{{recipe: {ablation.recipe}, variant: {{0}}}}}}"
    return [
        *(f"{file}:++{key}={json.dumps(value)}" for key, value in (ablation.common | setting).items()),
        *([f"{file}:++variants={json.dumps(ablation.variants)}"] if dropped or added else []),
        *(f"{graph}:~students.{ablation.recipe}-{variant}" for variant in dropped),
        *(student.format(variant) for variant in added),
    ]


def ablation_setting_label(setting: Setting) -> str:
    """A setting as tables and figures name it."""
    return ", ".join(f"{key.partition('.')[2]} {value}" for key, value in setting.items()) or "the recipe's own"


def ablation_result_table(ablation: Ablation, metrics: list[dict[str, dict] | None]) -> "pd.DataFrame":
    """A row per setting, variant and kind of direction; ``metrics`` are those of each stage, None where missing.

    A number is its mean over student seeds, the 95 % interval and how many seeds there are, in four columns; of the
    metrics in ``PAIRED`` so are the differences to the baseline at equal seeds.
    """
    import pandas as pd  # here, since it takes seconds, as does scipy

    from gad.report.direction_kinds import direction_kinds

    rows = []
    for setting, recorded in zip(ablation.settings, metrics, strict=True):
        if recorded is None:
            continue
        kinds = recorded.get("sensitivity", {})
        for kind in direction_kinds(kinds):
            for variant, values in kinds[kind].items():
                row = {"setting": ablation_setting_label(setting), "directions": kind, "variant": variant}
                found = {"sensitivity": values, "control": recorded["control"]["over_seeds"].get(variant, {})}
                found["fidelity"] = recorded.get("fidelity", {}).get("fidelity", {}).get(variant, {})
                for column, (stage, metric) in METRICS.items():
                    row |= _parts(column, found[stage].get(metric, {}))
                less = kinds.get(f"{kind}_minus_baseline", {}).get(variant, {})
                for column in PAIRED:
                    row |= _parts(f"{column}, minus baseline", less.get(METRICS[column][1], {}))
                rows.append(row)
    return pd.DataFrame(rows)


def _parts(column: str, estimate: dict) -> dict[str, float]:
    if estimate.get("mean") is None:
        return {}
    return {f"{column} {part}": estimate[part] for part in ("mean", "low", "high", "n")}


def recorded_ablation_tables(recipe: str, ablations: dict[str, Ablation], folder: Path = RESULTS / "ablations") -> dict:
    """The tables there are of a recipe's ablations, ``{name: (title, table)}``; those of quick runs say so."""
    import pandas as pd  # here, since it takes seconds

    found = {}
    for name, ablation in ablations.items():
        for ending, words in (("", ""), (QUICK, " (shorter training)")):
            path = folder / f"{name}{ending}.csv"
            if ablation.recipe == recipe and path.exists():
                on = ", on validation noises" if ablation.noises == "validation" else ""
                found[name + ending] = (ablation.title + on + words, pd.read_csv(path))
    return found
