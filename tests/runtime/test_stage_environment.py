"""Neither shell, cluster nor container decides what a stage computes with."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from scripts import ROOT

from gad.runtime import environment, kernel
from gad.runtime.distributed import make_accelerator, rank_and_world_size
from gad.runtime.environment import check_threads, ignore_foreign_packages
from gad.runtime.launchers import check_launcher, ignore_launch_settings

SHOWN = """
import os, sys
import numpy
names = ["RANK", "WORLD_SIZE", "NVIDIA_TF32_OVERRIDE", "ONEDNN_DEFAULT_FPMATH_MODE", "PYTHONSTARTUP"]
print("executable", sys.executable)
print("left", [name for name in names if name in os.environ])
print("seen", "from_startup" in globals(), "numpy", numpy.__file__)
print("encoding", open(os.devnull).encoding, "\\u2014")
"""


def copy_of_project(root: Path) -> Path:
    """A project with the real runner and package, and a notebook that shows what it runs in."""
    for name in ("notebooks", "pipelines"):
        (root / name).mkdir(parents=True)
    shutil.copytree(ROOT / "src" / "gad", root / "src" / "gad")
    (root / "pipelines" / "recipes").symlink_to(ROOT / "pipelines" / "recipes")
    for name in ("pipelines/run_stage.py", "params.yaml"):
        (root / name).write_text((ROOT / name).read_text())
    cells = [new_code_cell('recipe: str = "smoke"', metadata={"tags": ["parameters"]}), new_code_cell(SHOWN)]
    spec = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=spec), root / "notebooks" / "01_teacher.ipynb")
    return root


def hostile_environment(tmp_path: Path) -> dict[str, str]:
    """Kernels, start-up files, packages, precision, a place in a launch and a locale of somebody else."""
    spec = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    startup = tmp_path / "ipython" / "profile_default" / "startup" / "00.py"
    package, temporary = tmp_path / "packages" / "numpy" / "__init__.py", tmp_path / ("long" * 30)
    for path in (spec, startup, package, temporary / "x"):
        path.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": ["/no/python", "{connection_file}"], "display_name": "", "language": "python"}))
    startup.write_text("from_startup = True")
    package.write_text("raise RuntimeError('the numpy of a module')")
    return {
        "JUPYTER_PATH": str(tmp_path / "jupyter"),
        "JUPYTER_PREFER_ENV_PATH": "0",
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "PYTHONSTARTUP": str(startup),
        "PYTHONPATH": str(tmp_path / "packages"),
        "TMPDIR": str(temporary),
        "JUPYTER_RUNTIME_DIR": str(temporary / "runtime"),
        "RANK": "1",
        "WORLD_SIZE": "2",
        "NVIDIA_TF32_OVERRIDE": "1",
        "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
        "PYTHONHASHSEED": "7",
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def test_a_stage_runs_in_its_own_environment_whatever_the_cluster_sets(tmp_path):
    root, changed = copy_of_project(tmp_path / "project"), hostile_environment(tmp_path)
    command = [sys.executable, root / "pipelines" / "run_stage.py", "teacher", "--recipe", "smoke"]
    done = subprocess.run(command, cwd=root, env=os.environ | changed, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert f"executable {sys.executable}\nleft []\nseen False numpy {sys.prefix}" in done.stdout
    assert "encoding utf-8" in done.stdout and "\u2014" in (root / "reports/smoke/teacher.html").read_text("utf-8")
    told = [line for line in done.stderr.splitlines() if line.startswith("ignored: ")]
    assert [line.split()[1].partition("=")[0] for line in told] == [
        "NVIDIA_TF32_OVERRIDE",
        "RANK",
        str(tmp_path / "packages"),
    ]


@pytest.mark.parametrize("script", ["run_stage.py", "parallel.py"])
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"OMP_NUM_THREADS": "all"}, "OMP_NUM_THREADS=all is no number of threads; set a whole number"),
        ({"MKL_NUM_THREADS": "0"}, "MKL_NUM_THREADS=0 is no number of threads"),
    ],
)
def test_an_impossible_environment_is_one_line(script, changed, message):
    command = [sys.executable, ROOT / "pipelines" / script, "noise_pairs", "--recipe", "smoke"]
    environment_ = os.environ | {"PYTHONSAFEPATH": "1"} | changed
    done = subprocess.run(command, capture_output=True, text=True, env=environment_)
    assert done.returncode == 1 and message in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("value", ["1", "16", "4,2", " 8 "])
def test_numbers_of_threads_pass(monkeypatch, value):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    check_threads()


def test_only_folders_with_packages_of_ours_are_kept_out(monkeypatch, tmp_path):
    (tmp_path / "module" / "torch").mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "helpers.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path / "module"), str(tmp_path / "mine"), *sys.path])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path[:2]))
    monkeypatch.setenv("PYTHONNOUSERSITE", "0")
    lines = ignore_foreign_packages()
    assert len(lines) == 1 and lines[0].startswith(f"ignored: {tmp_path / 'module'} ") and "torch" in lines[0]
    assert sys.path[0] == os.environ["PYTHONPATH"] == str(tmp_path / "mine")
    assert ignore_foreign_packages() == []


def test_no_place_for_sockets_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(kernel, "PLACES", ())
    monkeypatch.setattr(kernel.tempfile, "tempdir", str(tmp_path / ("long" * 30)))
    with pytest.raises(ValueError, match="^the temporary folder .*long has a path too long for sockets; set TMPDIR"):
        kernel.socket_folder()


REFUSED = [
    ("ACCELERATE_USE_DEEPSPEED", "true", "for DeepSpeed, which is not used here: unset it"),
    ("ACCELERATE_USE_FSDP", "1", "for FSDP, which is not used here: .*student.shard: true"),
    ("ACCELERATE_USE_MEGATRON_LM", "TRUE", "for Megatron-LM"),
    ("ACCELERATE_USE_PARALLELISM_CONFIG", "yes", "for tensor or context parallelism"),
    ("ACCELERATE_USE_CPU", "maybe", "ACCELERATE_USE_CPU=maybe is neither true nor false"),
]


@pytest.mark.parametrize(("name", "value", "message"), REFUSED)
def test_another_way_to_train_is_refused_in_one_line(monkeypatch, name, value, message):
    monkeypatch.setenv(name, value)
    for refuses in (check_launcher, lambda: make_accelerator("cpu")):
        with pytest.raises(ValueError, match=message) as caught:
            refuses()
        assert "\n" not in str(caught.value) and str(caught.value).startswith(name)
    monkeypatch.setenv(name, "false")
    check_launcher()


def test_what_the_recipe_decides_is_ignored_with_a_line(monkeypatch, capsys):
    for name, value in (("MIXED_PRECISION", "nonsense"), ("DYNAMO_BACKEND", "INDUCTOR"), ("TORCH_DEVICE", "meta")):
        monkeypatch.setenv(f"ACCELERATE_{name}", value)
    accelerator = make_accelerator("cpu")
    assert accelerator.mixed_precision == "no" and accelerator.device.type == "cpu"
    assert capsys.readouterr().err.splitlines() == [
        "ignored: ACCELERATE_MIXED_PRECISION=nonsense; student.dtype decides",
        "ignored: ACCELERATE_DYNAMO_BACKEND=INDUCTOR; student.compile decides",
        "ignored: ACCELERATE_TORCH_DEVICE=meta; the recipe's device decides",
    ]


def test_what_a_launcher_sets_by_itself_is_passed_over(monkeypatch):
    for name, value in (("MIXED_PRECISION", "no"), ("DYNAMO_BACKEND", "NO"), ("GRADIENT_ACCUMULATION_STEPS", "1")):
        monkeypatch.setenv(f"ACCELERATE_{name}", value)
    assert ignore_launch_settings() == []


@pytest.mark.parametrize("place", [("one", "2"), ("2", "2"), ("0", ""), ("-1", "2")])
def test_no_place_in_a_launch_is_one_line(monkeypatch, place):
    for name, value in zip(("RANK", "WORLD_SIZE"), place, strict=True):
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"^RANK={place[0]} of WORLD_SIZE={place[1]} is no place in a launch"):
        rank_and_world_size()


def test_every_text_is_read_and_written_as_utf8():
    """Else the locale of a cluster decides what is read."""
    found = []
    for path in [*(ROOT / "src").rglob("*.py"), *(ROOT / "pipelines").glob("*.py")]:
        for call in (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)):
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            modes = [part.value for part in call.args[1:2] if isinstance(part, ast.Constant)]
            binary = ast.unparse(call.func) in ("Image.open", "os.open") or any("b" in str(mode) for mode in modes)
            named = any(keyword.arg == "encoding" for keyword in call.keywords)
            if name in ("read_text", "write_text", "open") and not named and not binary:
                found.append(f"{path.relative_to(ROOT)}:{call.lineno}")
    assert found == []


def test_personal_start_up_files_are_not_handed_on(monkeypatch):
    for name in environment.PERSONAL:
        monkeypatch.setenv(name, "1")
    environment.prepare_environment(alone=True)
    assert not set(environment.PERSONAL) & set(os.environ) and os.environ["PYTHONUTF8"] == "1"
