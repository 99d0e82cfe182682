"""The smoke recipe, and recipes on folders in the hub's format, go through all seven stages and their notebooks."""

import shutil
import subprocess
import sys

import hub_folders
import pytest
from ruamel.yaml import YAML
from scripts import ROOT

STAGES = ("teacher", "noise_pairs", "student baseline", "student gad", "sensitivity", "fidelity", "control", "report")


@pytest.fixture
def project(tmp_path):
    """A copy of the project, with nothing made in it yet."""
    for name in ("src", "pipelines", "notebooks", "data/sprites"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("recipe", "student"),
    [
        pytest.param("smoke", {}, marks=pytest.mark.chain, id="smoke"),
        *(
            pytest.param(name, changes, marks=pytest.mark.slow, id=f"{name}-{kind}")
            for name in hub_folders.BUILDERS
            for kind, changes in {"whole": {}, "lora": {"lora": {"rank": 4}}}.items()
        ),
    ],
)
def test_a_recipe_goes_through_every_stage(project, recipe, student):
    name = "smoke" if recipe == "smoke" else "local"
    if name == "local":
        settings = hub_folders.small_recipe(recipe, project / "models", **student)
        YAML().dump(settings.model_dump(exclude={"name"}), project / "pipelines" / "recipes" / "local.yaml")
    for line in STAGES:
        stage, *variant = line.split()
        command = [sys.executable, "pipelines/run_stage.py", stage, "--recipe", name]
        command += ["--variant", *variant] if variant else []
        done = subprocess.run(command, cwd=project, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}: {done.stderr[-2000:]}"
        assert done.stdout.splitlines()[-1] == f"reports/{name}/{line.replace(' ', '-')}.html"
    report = (project / "reports" / name / "report.html").read_text()
    assert all(f">{model}<" in report for model in ("teacher", "baseline", "gad"))
    assert f"{name}/report.html" in (project / "reports" / "index.html").read_text()
