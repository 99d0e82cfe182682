"""What ``dvc.yaml`` multiplies its stages by, made from the recipes of ``params.yaml``: students, inputs and plots.

``python -m gad.config.stage_graph`` writes it again; so does ``pipelines/repro.py`` before it calls DVC.
"""

from io import StringIO
from pathlib import Path

from ruamel.yaml import YAML

from gad.config.recipe import Recipe, load_recipe
from gad.config.yaml_file import read_params_yaml
from gad.runtime.atomic import atomic_write_path
from gad.runtime.cli import exit_with_status
from gad.runtime.paths import AUTOENCODERS, RECIPES, ROOT, project_path

HELD_OUT = ("jvp_cosine_isotropic", "seed_retrieval_accuracy", "object_accuracy")  # curves that are drawn live
GRAPH = ROOT / "pipelines" / "graph.yaml"
PARAMS = ROOT / "params.yaml"
HEAD = "# Made from params.yaml and pipelines/recipes by: python -m gad.config.stage_graph\n"


def stage_inputs(recipe: Recipe) -> dict[str, str]:
    """What a recipe's teacher is made from, by which code, and what its students are evaluated by."""
    if recipe.teacher.dataset == "swiss_roll":
        points = "src/gad/data/swiss_roll.py"
        return {"teacher": points, "teacher_code": "src/gad/models/exact.py", "evaluators": points}
    autoencoder = str(AUTOENCODERS[recipe.teacher.autoencoder].relative_to(ROOT))
    inputs = {"teacher": autoencoder, "teacher_code": "src/gad/data/emoji"}
    if recipe.teacher.pretrained:
        named = recipe.teacher.pretrained
        source = str(project_path(named)) if named.startswith("~") else named  # DVC knows no home folder
        inputs = {"teacher": source, "teacher_code": "src/gad/data/emoji/teacher.py"}
    return inputs | {"evaluators": "data/emoji/evaluators"}


def _plots(recipes: list[Recipe]) -> dict[str, dict]:
    """The columns that ``dvc plots show`` draws, by file."""
    logs = (f"data/{recipe.name}/student/{variant}/training.csv" for recipe in recipes for variant in recipe.variants)
    validated = [
        f"data/{recipe.name}/live/{variant}/seed_{seed}/plots/metrics/validation"
        for recipe in recipes
        for variant in recipe.variants
        for seed in recipe.student.seeds_of(variant)
        if recipe.student.validation is not None
    ]
    images = [
        f"data/{recipe.name}/control/diversity.csv" for recipe in recipes if recipe.teacher.dataset != "swiss_roll"
    ]
    return {
        "training": dict.fromkeys(logs, "total"),
        "held_out": {name: {f"{folder}/{name}.tsv": name for folder in validated} for name in HELD_OUT},
        "trajectory": {f"data/{recipe.name}/sensitivity/trajectory.csv": "deviation" for recipe in recipes},
        "diversity": dict.fromkeys(images, "vendi"),
        "models": dict.fromkeys(images, "variant"),
    }


def stage_graph(params: Path = PARAMS, recipes: Path = RECIPES) -> dict[str, dict]:
    """``students``, ``inputs`` and ``plots`` for ``dvc.yaml``. Raises RecipeError, in one line, for a faulty recipe."""
    named = read_params_yaml(params)
    loaded = {name: load_recipe(name, recipes) for name in named["recipes"]}
    students = {
        f"{name}-{variant}": {"recipe": name, "variant": variant}
        for name, recipe in loaded.items()
        for variant in recipe.variants
    }
    inputs = {name: stage_inputs(recipe) for name, recipe in loaded.items()}
    return {"students": students, "inputs": inputs, "plots": _plots([loaded[name] for name in named["main"]])}


def write_stage_graph(path: Path = GRAPH) -> None:
    """Write :func:`stage_graph` to ``path``, which stays untouched where nothing has changed."""
    text = StringIO()
    YAML().dump(stage_graph(), text)
    if not path.exists() or path.read_text(encoding="utf-8") != HEAD + text.getvalue():
        with atomic_write_path(path) as partial:
            partial.write_text(HEAD + text.getvalue(), encoding="utf-8")


if __name__ == "__main__":
    exit_with_status(write_stage_graph)
