"""The command that makes what a stage lacks, for messages."""

from pathlib import Path

from gad.config.yaml_file import read_params_yaml
from gad.runtime.paths import ROOT


def is_dvc_recipe(recipe: str, root: Path = ROOT) -> bool:
    """Whether DVC has stages of that recipe: those of ``params.yaml`` alone. Raises RecipeError for a faulty one."""
    return recipe in read_params_yaml(root / "params.yaml")["recipes"]


def stage_command(recipe: str, stage: str, variant: str | None = None, *, root: Path = ROOT) -> str:
    """The command that runs a stage of a recipe, with DVC where it knows the recipe; ``variant``: of stage student."""
    if is_dvc_recipe(recipe, root):
        return f"dvc repro {stage}@{recipe}" + (f"-{variant}" if variant else "")
    return f"gad run {stage} --recipe {recipe}" + (f" --variant {variant}" if variant else "")
