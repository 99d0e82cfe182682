"""Ablations: a recipe with a few keys changed, one experiment each, and the table that their metrics make."""

import json
from pathlib import Path

import pandas as pd
from pydantic import Field, ValidationError
from ruamel.yaml import YAML

from gad.artifacts import fingerprint
from gad.config import RecipeError, Section, load_recipe
from gad.summary import direction_kinds

Setting = dict[str, object]
"""A recipe's keys, as ``section.key``, and their values."""

METRICS = {  # column: group in the metrics of `sensitivity`, metric
    "map error, median": "map_error_median",
    "JVP cosine": "jvp_cosine",
    "median gain": "gain_median",
}


class Ablation(Section):
    """Experiments on one recipe."""

    title: str
    recipe: str
    common: Setting = {}
    settings: list[Setting] = Field(min_length=1)


def load_ablations(path: Path) -> dict[str, Ablation]:
    """Every ablation by its name. Raises RecipeError in one line for a fault, also for a key that no recipe has."""
    ablations = {}
    for name, values in YAML(typ="safe", pure=True).load(path).items():
        try:
            ablations[name] = Ablation.model_validate(values)
        except ValidationError as error:
            fault = error.errors()[0]
            raise RecipeError(f"ablation {name}: {'.'.join(map(str, fault['loc']))}: {fault['msg']}") from error
        check_settings(name, ablations[name])
    return ablations


def check_settings(name: str, ablation: Ablation) -> None:
    """Raises RecipeError, in one line, where the recipe with a setting's changes would be refused."""
    recipe = load_recipe(ablation.recipe)
    for setting in ablation.settings:
        values = recipe.model_dump()
        for key, value in (ablation.common | setting).items():
            section, _, field = key.partition(".")
            if not isinstance(values.get(section), dict) or field not in values[section]:
                raise RecipeError(f"ablation {name}: recipe {ablation.recipe} has no key {key}")
            values[section][field] = value
        try:
            type(recipe).model_validate(values)
        except ValidationError as error:
            fault = error.errors()[0]
            raise RecipeError(f"ablation {name}: {setting}: {fault['msg'].removeprefix('Value error, ')}") from error


def experiment_name(name: str, ablation: Ablation, setting: Setting) -> str:
    """What DVC calls the experiment: the ablation's name and a hash of all that it changes."""
    return f"{name}-{fingerprint(ablation.recipe, ablation.common | setting)[:8]}"


def overrides(ablation: Ablation, setting: Setting) -> list[str]:
    """The changes as ``dvc exp run -S`` takes them."""
    file = f"pipelines/recipes/{ablation.recipe}.yaml"
    return [f"{file}:{key}={json.dumps(value)}" for key, value in (ablation.common | setting).items()]


def table(ablation: Ablation, metrics: list[dict | None]) -> pd.DataFrame:
    """A row per setting, variant and kind of direction; ``metrics`` are those of `sensitivity`, None where missing."""
    rows = []
    for setting, recorded in zip(ablation.settings, metrics, strict=True):
        label = ", ".join(f"{key.partition('.')[2]} {value}" for key, value in setting.items())
        for kind in direction_kinds(recorded or {}):
            for variant, values in recorded[kind].items():
                row = {"setting": label, "directions": kind, "variant": variant}
                for column, metric in METRICS.items():
                    row |= {f"{column} {part}": values[metric][part] for part in ("mean", "low", "high", "n")}
                rows.append(row)
    return pd.DataFrame(rows)
