"""Named numbers beside a recipe's own, such as the paper's: a preset is written out as a recipe of its own.

So the file that DVC reads says all that is run. ``python -m gad.config.presets sd21_ladd paper`` writes
``pipelines/recipes/sd21_ladd_paper.yaml``.
"""

import argparse
from io import StringIO
from pathlib import Path

from ruamel.yaml import YAML

from gad.config.recipe import recipe_names, recipe_of_sections
from gad.config.yaml_file import RecipeError, read_recipe_sections
from gad.runtime.atomic import atomic_write_path
from gad.runtime.cli import exit_with_status
from gad.runtime.paths import RECIPES

FOLDER = "presets"  # below that of the recipes


def preset_names(folder: Path = RECIPES) -> list[str]:
    """Every preset there is."""
    return sorted(path.stem for path in (folder / FOLDER).glob("*.yaml"))


def _preset_changes(recipe: str, preset: str, folder: Path) -> dict:
    """What a preset changes of a recipe: keys by section, None for one that is left out; sections or whole values."""
    if preset not in preset_names(folder):
        raise RecipeError(f"unknown preset {preset!r}; there are {', '.join(preset_names(folder))}")
    changes = read_recipe_sections(folder / FOLDER / f"{preset}.yaml", f"preset {preset}")
    if recipe not in changes:
        raise RecipeError(f"preset {preset} has no numbers for {recipe!r}, only for {', '.join(changes)}")
    return changes[recipe]


def _apply_preset(values: dict, changes: dict) -> None:
    """Put the changes into a recipe's values, in place."""
    for name, value in changes.items():
        if isinstance(value, dict) and isinstance(values.get(name), dict):
            _apply_preset(values[name], value)
        elif value is None:
            values.pop(name, None)
        else:
            values[name] = value


def write_recipe_with_preset(recipe: str, preset: str, folder: Path = RECIPES) -> Path:
    """Write the recipe ``<recipe>_<preset>`` and return its file, which repeats the comments of the recipe's own.

    Raises RecipeError, in one line, for a recipe or preset that there is not, or that do not go together.
    """
    if recipe not in recipe_names(folder):
        raise RecipeError(f"unknown recipe {recipe!r}; there are {', '.join(recipe_names(folder))}")
    changes, path = _preset_changes(recipe, preset, folder), folder / f"{recipe}_{preset}.yaml"
    yaml = YAML()
    yaml.width = 10_000  # lines stay as they are
    values = yaml.load(folder / f"{recipe}.yaml")
    _apply_preset(values, changes)
    text = StringIO()
    yaml.dump(values, text)
    recipe_of_sections(path.stem, YAML(typ="safe", pure=True).load(text.getvalue()))
    said = f"# {recipe} with the preset {preset}, made by: python -m gad.config.presets {recipe} {preset}\n"
    said += f"# What changes and what that computes: pipelines/recipes/{FOLDER}/{preset}.yaml. Of the recipe itself:\n"
    with atomic_write_path(path) as partial:
        partial.write_text(said + text.getvalue(), encoding="utf-8")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="a file of pipelines/recipes, without .yaml")
    parser.add_argument("preset", help="a file of pipelines/recipes/presets, without .yaml")
    arguments = parser.parse_args()
    print(write_recipe_with_preset(arguments.recipe, arguments.preset))


if __name__ == "__main__":
    exit_with_status(main)
