"""The runner of one stage, on a small project with a small notebook."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from ruamel.yaml import YAML
from scripts import ROOT, load_script

from gad.config import load_recipe
from gad.distillation.training_record import check_training_record, write_training_record

run_stage = load_script("pipelines/run_stage.py")
repro = load_script("pipelines/repro.py")


@pytest.fixture
def project(tmp_path):
    """A project root with the real recipes and no notebook yet."""
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "pipelines" / "recipes").symlink_to(ROOT / "pipelines" / "recipes")
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    return tmp_path


@pytest.fixture
def notebook(project):
    """Write the notebook of the stage `teacher` from its code cells."""

    def write(*cells: str, parameters: str = 'recipe: str = "swiss_roll"'):
        tagged = new_code_cell(parameters, metadata={"tags": ["parameters"]})
        body = [
            part for i, code in enumerate(cells) for part in (new_markdown_cell(f"## Part {i}"), new_code_cell(code))
        ]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(new_notebook(cells=[tagged, *body], metadata=kernel), project / "notebooks" / "01_teacher.ipynb")

    return write


def test_every_stage_of_dvc_has_a_notebook_and_inputs():
    stages = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]
    assert list(stages) == list(run_stage.INPUTS)
    for stage, entry in stages.items():
        named = [name for name in entry.get("do", entry)["deps"] if name.startswith("notebooks/")]
        assert named in ([], [f"notebooks/{run_stage.find_notebook(stage, ROOT).name}"])


def test_a_stage_runs_in_the_project_root_with_its_recipe(project, notebook, capfd):
    notebook("import pathlib\nprint(recipe, 'in', pathlib.Path.cwd())")
    page = run_stage.run_stage("teacher", "smoke", None, project)
    assert page == project / "reports" / "smoke" / "teacher"
    assert f"smoke in {project}" in capfd.readouterr().out  # the notebook's progress reaches the terminal
    assert f"smoke in {project}" in page.with_name("teacher.html").read_text()
    assert sorted(path.name for path in page.parent.iterdir()) == ["teacher.html", "teacher.ipynb"]


def test_every_kernel_listens_in_a_folder_of_its_own_that_is_gone_afterwards(project, notebook, capfd):
    notebook("import ipykernel, json\nprint('at', json.load(open(ipykernel.get_connection_file()))['ip'])")
    for _ in range(2):  # in one folder two that start together would take each other's sockets
        run_stage.run_stage("teacher", "smoke", None, project)
    places = [Path(line.removeprefix("at ")) for line in capfd.readouterr().out.splitlines() if line.startswith("at ")]
    assert len({place.parent for place in places}) == 2 and not any(place.parent.exists() for place in places)
    assert not list(project.glob("kernel*"))


def test_an_unknown_notebook_parameter_is_an_error(project, notebook):
    notebook("1 + 1", parameters="recpie = 'swiss_roll'")
    with pytest.raises(run_stage.StageError, match="01_teacher.ipynb has no parameter 'recipe'; it has: recpie"):
        run_stage.run_stage("teacher", "smoke", None, project)
    assert not (project / "reports").exists()


BAD_NOTEBOOKS = {
    "empty": b"",
    "no JSON": b"<<<<<<< HEAD\n{}",
    "cut short": b'{"cells": [{"cell_type": "co',
    "a list": b"[]",
    "Latin-1": b'{"cells": "caf\xe9"}',
}


@pytest.mark.parametrize("content", BAD_NOTEBOOKS.values(), ids=BAD_NOTEBOOKS)
def test_what_is_no_notebook_is_named_in_one_line(project, content):
    (project / "notebooks" / "01_teacher.ipynb").write_bytes(content)
    message = "notebooks/01_teacher.ipynb is no notebook: .*git checkout"
    with pytest.raises(run_stage.StageError, match=message) as caught:
        run_stage.run_stage("teacher", "smoke", None, project)
    assert "\n" not in str(caught.value) and not (project / "reports").exists()


def test_a_second_notebook_of_a_stage_is_refused(project, notebook):
    notebook("1 + 1")
    shutil.copy(project / "notebooks" / "01_teacher.ipynb", project / "notebooks" / "02_teacher.ipynb")
    with pytest.raises(run_stage.StageError, match="one notebook .*not 2: 01_teacher.ipynb, 02_teacher.ipynb$"):
        run_stage.run_stage("teacher", "smoke", None, project)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "params.yaml: expected sections, found NoneType"),
        ("recipes: [", "params.yaml: not YAML"),
        ("main: [smoke]\n", "params.yaml: recipes should list names of recipes, not None"),
        ("recipes: smoke\nmain: []\n", "params.yaml: recipes should list names of recipes, not 'smoke'"),
    ],
)
def test_a_faulty_list_of_recipes_is_one_line(project, text, message):
    (project / "params.yaml").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        run_stage.check_inputs("student", "smoke", "student@smoke", project)
    assert "\n" not in str(caught.value)


def test_linked_data_is_written_where_it_lies_and_its_partial_results_are_freed(project, notebook):
    notebook("1 + 1")
    (project / "disk").mkdir()
    (project / "disk" / "noises").touch()
    (project / "data" / "smoke" / "live" / "cache").mkdir(parents=True)
    (project / "data" / "smoke" / "live" / "cache" / "teacher").symlink_to(project / "disk")
    run_stage.run_stage("teacher", "smoke", None, project)
    assert not list((project / "disk").iterdir())
    assert (project / "data" / "smoke" / "live" / "cache" / "teacher").is_symlink()


def test_a_failing_cell_is_named_in_five_lines_and_its_copy_is_kept(project, notebook):
    notebook("fine = 1", "def deep():\n    raise ValueError('too\\nbad')\ndeep()", "never = 1")
    with pytest.raises(run_stage.StageError) as caught:
        run_stage.run_stage("teacher", "smoke", None, project)
    message = str(caught.value)
    assert len(message.splitlines()) <= 5
    assert "01_teacher.ipynb" in message and "'Part 1'" in message and "ValueError: too bad" in message
    assert "reports/smoke/teacher.failed.ipynb" in message
    assert (project / "reports" / "smoke" / "teacher.failed.ipynb").exists()
    assert not (project / "reports" / "smoke" / "teacher.ipynb").exists()


@pytest.mark.parametrize("recipe", ["swiss_roll", "smoke"])
def test_a_missing_input_names_the_command_that_makes_it(project, recipe):
    nbformat.write(
        new_notebook(
            cells=[new_code_cell("recipe = 'a'\nvariant = 'b'", metadata={"tags": ["parameters"]})],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        ),
        project / "notebooks" / "03_student.ipynb",
    )
    (project / "data" / recipe / "teacher").mkdir(parents=True)
    (project / "data" / recipe / "teacher" / "points").touch()
    command = "dvc repro student@swiss_roll-gad" if recipe == "swiss_roll" else "noise_pairs --recipe smoke"
    with pytest.raises(run_stage.StageError, match=f"'student' needs data/{recipe}/noise_pairs; run: .*{command}"):
        run_stage.run_stage("student", recipe, "gad", project)


@pytest.mark.parametrize(
    ("recipe", "command"),
    [("emoji_quick", "dvc repro student@emoji_quick-baseline"), ("sd21_ladd", "gad run student .*baseline")],
)
def test_an_analysis_without_the_baseline_is_refused_before_it_begins(project, recipe, command):
    for name in ("teacher", "student/gad"):
        folder = project / "data" / recipe / name
        folder.mkdir(parents=True)
        (folder / "done").touch()
    with pytest.raises(run_stage.StageError, match=f"'sensitivity' compares with the baseline, .*run: .*{command}"):
        run_stage.check_inputs("sensitivity", recipe, f"sensitivity@{recipe}", project)
    (project / "data" / recipe / "student" / "gad").rename(project / "moved")
    with pytest.raises(run_stage.StageError, match=f"'sensitivity' needs data/{recipe}/student; run: "):
        run_stage.check_inputs("sensitivity", recipe, f"sensitivity@{recipe}", project)
    (project / "data" / recipe / "student" / "baseline").mkdir()
    run_stage.check_inputs("sensitivity", recipe, f"sensitivity@{recipe}", project)


@pytest.mark.parametrize("name", ["noise_pairs", "sensitivity"])
def test_an_unfinished_input_names_the_command_that_ends_it(project, name):
    stage = "student" if name == "noise_pairs" else "report"
    for other in run_stage.INPUTS[stage]:
        (project / "data" / "smoke" / other).mkdir(parents=True)
        (project / "data" / "smoke" / other / "done").touch()
    (project / "data" / "smoke" / name / "unfinished.txt").touch()
    told = f"^stage '{stage}' needs data/smoke/{name}, which is unfinished; run: gad run {name} --recipe smoke$"
    with pytest.raises(run_stage.StageError, match=told):
        run_stage.check_inputs(stage, "smoke", stage, project)


def test_a_step_that_drowns_is_told_before_the_stage_that_it_spoils(capsys):
    settings = load_recipe("pixart_tdm")
    changes = {
        "noise_pairs": settings.noise_pairs.model_copy(update={"perturbation_scale": 0.01}),
        "student": settings.student.model_copy(update={"dtype": "float16"}),
    }
    settings = settings.model_copy(update=changes)  # as the paper has them
    for stage in ("teacher", "noise_pairs", "sensitivity"):  # pairs are float32
        run_stage.warn_of_rounding(stage, settings)
    assert capsys.readouterr().err == ""
    run_stage.warn_of_rounding("student", settings)
    line = capsys.readouterr().err
    assert (
        line.startswith("warning: student.dtype: h = 0.01 drowns in the rounding of float16") and line.count("\n") == 1
    )
    run_stage.warn_of_rounding("student", load_recipe("emoji_dit_tdm"))
    assert capsys.readouterr().err == ""


def test_students_of_other_settings_or_lacking_a_seed_are_refused(tmp_path):
    settings = load_recipe("smoke")
    for name in ("baseline", "gad"):
        for seed in settings.student.seeds:
            (tmp_path / name / f"seed_{seed}").mkdir(parents=True)
        write_training_record(tmp_path / name, settings.student, settings.noise_pairs)
    check_training_record(settings, tmp_path)
    harmless = settings.student.model_copy(update={"device": "cuda", "accumulate": 2})
    check_training_record(settings.model_copy(update={"student": harmless}), tmp_path)
    faster = settings.model_copy(update={"student": settings.student.model_copy(update={"lr": 0.5})})
    message = (
        "^students of baseline were trained with student.lr .* where the recipe says 0.5; train it again: .*baseline$"
    )
    with pytest.raises(ValueError, match=message):
        check_training_record(faster, tmp_path)
    longer = settings.model_copy(update={"noise_pairs": settings.noise_pairs.model_copy(update={"seed": 9})})
    with pytest.raises(ValueError, match="noise_pairs.seed 0 where the recipe says 9"):
        check_training_record(longer, tmp_path)
    (tmp_path / "gad" / f"seed_{settings.student.seeds[-1]}").rmdir()
    with pytest.raises(ValueError, match=f"^gad lacks the student of seed {settings.student.seeds[-1]}, which"):
        check_training_record(settings, tmp_path)


def test_a_variant_that_the_paradigm_cannot_have_is_refused_before_anything_runs(project):
    with pytest.raises(ValueError, match="variant 'gad_score' needs a fake score"):
        run_stage.run_stage("student", "smoke", "gad_score", project)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["teaching", "--recipe", "smoke"], "unknown stage 'teaching'; there are: dataset, teacher"),
        (["teacher"], "'teacher' needs --recipe"),
        (["student", "--recipe", "smoke"], "needs --variant"),
        (
            ["student", "--recipe", "smoke", "--variant", "gda"],
            "unknown variant 'gda'; there are: initialisation, baseline",
        ),
        (["teacher", "--recipe", "smok"], "unknown recipe 'smok'"),
    ],
)
def test_a_wrong_call_is_one_line(arguments, message):
    command = [sys.executable, ROOT / "pipelines" / "run_stage.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_dry_run_is_refused_on_several_processes_too(project, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "pipelines"), *sys.path])
    parallel = load_script("pipelines/parallel.py")
    values = YAML(typ="safe", pure=True).load(ROOT / "pipelines" / "recipes" / "smoke.yaml")
    (project / "pipelines" / "recipes").unlink()
    (project / "pipelines" / "recipes").mkdir()
    YAML(typ="safe", pure=True).dump(values | {"dry_run": True}, project / "pipelines" / "recipes" / "dry.yaml")
    monkeypatch.setattr(parallel, "ROOT", project)
    with pytest.raises(parallel.StageError, match="recipe 'dry' is a dry run; run: python benchmarks"):
        parallel.check("noise_pairs", "dry", None)


WRONG = [
    ["run_stage.py", "teaching", "--recipe", "smoke"],
    ["run_stage.py", "student", "--recipe", "smok", "--variant", "gad"],
    ["run_stage.py", "student", "--recipe", "smoke", "--variant", "gda"],
    ["run_stage.py", "noise_pairs", "--recipe", "pixart_tdm"],
    ["parallel.py", "noise_pairs", "--recipe", "smok"],
    ["parallel.py", "noise_pairs", "--recipe", "pixart_tdm"],
    ["parallel.py", "student", "--recipe", "smoke", "--variant", "gad_score"],
    ["doctor.py", "smok"],
    ["ablate.py", "wieght"],
]
HEAVY = {"torch", "pandas", "diffusers", "transformers", "papermill", "nbconvert", "scipy", "matplotlib"}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_a_wrong_call_is_told_before_anything_heavy_is_imported(words):
    command = [sys.executable, "-X", "importtime", ROOT / "pipelines" / words[0], *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = done.stderr.splitlines()
    imported = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
    told = [line for line in lines if not line.startswith("import time:")] + done.stdout.splitlines()
    assert done.returncode and len(told) == 1
    assert "argparse" in imported or words[0] == "doctor.py"
    assert not imported & HEAVY


def test_a_stage_keeps_compiled_modules_where_the_environment_forbids_it(project, notebook):
    notebook("import os, sys\nprint('kept', not sys.dont_write_bytecode)", parameters='recipe: str = "smoke"')
    (project / "pipelines" / "run_stage.py").write_text((ROOT / "pipelines" / "run_stage.py").read_text())
    shutil.copytree(ROOT / "src" / "gad", project / "src" / "gad")
    command = [sys.executable, project / "pipelines" / "run_stage.py", "teacher", "--recipe", "smoke"]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=project, env=environment)
    assert done.returncode == 0, done.stderr
    assert "kept True\n" in done.stdout


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def write_lock(root: Path, pid: int) -> Path:
    path = root / repro.RWLOCK
    path.parent.mkdir(parents=True)
    path.write_text(f'{{"write": {{"data/a": {{"pid": {pid}, "cmd": "dvc repro"}}}}, "read": {{}}}}')
    return path


def test_the_lock_of_a_dead_run_is_cleared_and_said(tmp_path, capsys):
    path, pid = tmp_path / repro.RWLOCK, dead_process()
    write_lock(tmp_path, pid)
    repro.clear_stale_lock(tmp_path)
    assert not path.exists()
    assert str(pid) in capsys.readouterr().out


def test_the_lock_of_a_living_run_is_left_alone(tmp_path, capsys):
    path = write_lock(tmp_path, os.getpid())
    repro.clear_stale_lock(tmp_path)
    assert path.exists()
    assert capsys.readouterr().out == ""


def test_a_copy_of_the_project_runs_its_own_code_and_data(project, notebook):
    """DVC runs queued experiments in such a copy, with the installed one's environment."""
    notebook("import gad.runtime.paths\nprint('root', gad.runtime.paths.ROOT)", parameters='recipe: str = "smoke"')
    (project / "pipelines" / "run_stage.py").write_text((ROOT / "pipelines" / "run_stage.py").read_text())
    shutil.copytree(ROOT / "src" / "gad", project / "src" / "gad")
    command = [sys.executable, project / "pipelines" / "run_stage.py", "teacher", "--recipe", "smoke"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=project)
    assert done.returncode == 0, done.stderr
    assert f"root {project.resolve()}\n" in done.stdout
