"""The YAML files that people write: recipes, ablations, and params.yaml, which lists recipes."""

from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gad.runtime.text import lines_of_text, read_text_file

NEXT_LINE = "\x85"  # ruamel makes a space of it, even within quotes


class RecipeError(ValueError):
    """A recipe that cannot be used; the message is one line that says what is wrong and where."""


def read_recipe_sections(path: Path, what: str) -> dict:
    """The mapping in a YAML file. Raises RecipeError, in one line that begins with ``what``, where it holds none."""
    try:
        text = read_text_file(path)
        values = YAML(typ="safe", pure=True).load(text)  # YAML 1.2, as DVC: 1e-5 is a number
    except YAMLError as error:
        raise RecipeError(f"{what}: not YAML: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise RecipeError(f"{what}: cannot read {error.filename}: {error.strerror}") from error
    except ValueError as error:
        raise RecipeError(f"{what}: {error}") from error
    if NEXT_LINE in text:
        line = len(lines_of_text(text.partition(NEXT_LINE)[0]))
        raise RecipeError(f"{what}: line {line} holds the letter U+0085 (next line); write a space or \\n")
    if not isinstance(values, dict):
        raise RecipeError(f"{what}: expected sections, found {type(values).__name__}")
    return values


def read_params_yaml(path: Path) -> dict[str, list[str]]:
    """The names of all ``recipes`` and of those of the ``main`` job in params.yaml.

    Raises RecipeError, in one line, for a file that does not say both.
    """
    values = read_recipe_sections(path, path.name)
    for key in ("recipes", "main"):
        names = values.get(key)
        if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
            raise RecipeError(f"{path.name}: {key} should list names of recipes, not {names!r}")
    return values
