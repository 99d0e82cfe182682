"""pyproject.toml pins every version; conda users and this very environment get the same."""

import json
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]


def conda() -> list:
    return YAML(typ="safe", pure=True).load(ROOT / "environment.yml")["dependencies"]


def test_every_dependency_is_pinned():
    assert [pin for pin in PINS if pin.count("==") != 1] == []


@pytest.mark.parametrize("pin", PINS)
def test_the_installed_version_is_the_pinned_one(pin):
    name, wanted = pin.split("==")
    assert version(name).split("+")[0] == wanted


@pytest.mark.xdist_group("grouped")
def test_pytest_xdist_knows_the_groups_of_tests_that_share_what_is_costly(request):
    by_groups = request.config.getoption("loadgroup", default=False)  # pytest-xdist sets it in its workers
    assert request.node.nodeid.endswith("@grouped") == by_groups


def test_the_lock_has_every_pin():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = PINS + PROJECT["optional-dependencies"]["docs"]
    missing = {canonicalize_name(pin.partition("==")[0]) + "==" + pin.partition("==")[2] for pin in pins} - {*lines}
    assert not missing, "run: make lock"


def test_conda_installs_the_project_itself_and_pins_nothing_else():
    plain = [entry for entry in conda() if isinstance(entry, str)]
    through_pip = [entry["pip"] for entry in conda() if isinstance(entry, dict)]
    assert plain == ["python=3.11", "pip"]
    assert through_pip == [["-e .[dev]"]]


def test_both_ask_for_the_same_python():
    assert PROJECT["requires-python"] == ">=3.11,<3.12"
    assert "python=3.11" in conda()


def test_no_committed_teacher_or_judge_is_out_of_date():
    """Else the main job trains it anew for an hour. After a change that leaves their weights right: dvc commit -f."""
    names = ["dataset", "teacher@swiss_roll", "teacher@emoji_quick", "teacher@emoji_flow", "teacher@emoji_unet"]
    names += ["teacher@emoji_dit"]
    command = [sys.executable, "-m", "dvc", "status", "--json", *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {}
