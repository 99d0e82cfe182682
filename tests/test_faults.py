"""Faults of the machine while a stage runs: each is one clear line, nothing is lost, and the stage goes on afterwards.

Real processes of the runner, on a small project with a small notebook.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from scripts import ROOT

WRITES = """
from gad.runtime.files import read_tensors, write_tensors
from gad.runtime.paths import stage_dir
import torch
path = stage_dir(recipe, "teacher") / "points.safetensors"
write_tensors(path, {"points": torch.arange(200_000)})
"""
FILLS = """
from gad.runtime.paths import DATA
filler = DATA / "smoke" / "filler"
filler.write_bytes(bytes(1_400_000))
"""
WAITS = WRITES + "print('at work', flush=True)\nimport time\ntime.sleep(100)"


@pytest.fixture
def project(tmp_path):
    """A copy of the project's code with a notebook of the stage `teacher` that :func:`write` makes."""
    root = tmp_path / "project"
    (root / "pipelines").mkdir(parents=True)
    (root / "notebooks").mkdir()
    (root / "pipelines" / "recipes").symlink_to(ROOT / "pipelines" / "recipes")
    for name in ("params.yaml", "pipelines/run_stage.py"):
        shutil.copy(ROOT / name, root / name)
    shutil.copytree(ROOT / "src" / "gad", root / "src" / "gad", ignore=shutil.ignore_patterns("__pycache__"))
    write(root, WRITES)
    return root


def write(root: Path, code: str) -> None:
    cells = [new_code_cell('recipe: str = "smoke"', metadata={"tags": ["parameters"]}), new_code_cell(code)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), root / "notebooks" / "01_teacher.ipynb")


@contextmanager
def started(root: Path, **options):
    """A process of the stage, which is killed at the end with all that it started."""
    command = [sys.executable, str(root / "pipelines" / "run_stage.py"), "teacher", "--recipe", "smoke"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    with subprocess.Popen(command, cwd=root, start_new_session=True, **pipes) as runner:
        try:
            yield runner
        finally:
            if runner.poll() is None:
                for process in [*psutil.Process(runner.pid).children(recursive=True), runner]:
                    process.kill()


def ran(root: Path, **options) -> tuple[int, list[str]]:
    """The exit status of the stage and the lines of its error."""
    with started(root, **options) as runner:
        _, told = runner.communicate(timeout=300)
        return runner.returncode, lines_of(told)


def lines_of(told: str) -> list[str]:
    return [line for line in told.splitlines() if line.strip() and "IPKernelApp" not in line]


def at_work(runner) -> psutil.Process:
    """The kernel of a stage once its notebook waits."""
    for line in runner.stdout:
        if "at work" in line:
            break
    kernels = [
        each for each in psutil.Process(runner.pid).children(recursive=True) if "ipykernel" in str(each.cmdline())
    ]
    return kernels[0]


def left(root: Path) -> set[str]:
    """Files below the stage's folder."""
    return {path.name for path in (root / "data" / "smoke" / "teacher").rglob("*") if path.is_file()}


@contextmanager
def mounted(folder: Path, options: str):
    """A small disk of its own at ``folder``. Skipped where this user cannot mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def allow_small_disks(root: Path) -> None:
    runner = root / "pipelines" / "run_stage.py"
    runner.write_text(runner.read_text().replace("FREE_DISK = 200_000_000", "FREE_DISK = 1000"))


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def test_a_kernel_that_is_killed_is_one_line_that_says_what_to_do(project):
    write(project, WAITS)
    with started(project) as runner:
        at_work(runner).kill()
        _, told = runner.communicate(timeout=60)
    line = "error: the kernel of 01_teacher.ipynb was killed or ran out of memory; "
    line += "start again: it goes on from what is done"
    assert runner.returncode == 1 and lines_of(told) == [line]
    write(project, WRITES)
    assert ran(project)[0] == 0 and left(project) == {"points.safetensors"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stage_that_is_stopped_is_one_line_and_leaves_no_kernel(project, number):
    write(project, WAITS)
    with started(project) as runner:
        kernel = at_work(runner)
        runner.send_signal(number)
        _, told = runner.communicate(timeout=60)
        assert runner.returncode == 128 + number
    assert lines_of(told) == [f"stopped by {number.name}; start again: it goes on from what is done"]
    assert not kernel.is_running()
    assert not list((project / "reports").rglob("*.html"))


@pytest.mark.slow
def test_two_runs_of_a_stage_at_once_are_refused_and_a_dead_ones_lock_is_not(project):
    write(project, WAITS)
    with started(project) as first:
        at_work(first)
        status, told = ran(project)
        assert status == 1 and told == [
            f"error: teacher is being run by process {first.pid} on {os.uname().nodename}; wait for it, or end it and"
            " start again"
        ]
        os.kill(first.pid, signal.SIGKILL)
    write(project, WRITES)
    assert ran(project)[0] == 0


@pytest.mark.slow
def test_a_full_disk_is_one_clear_line_and_the_stage_goes_on_once_there_is_room(project):
    disk = project / "data" / "smoke"
    write(project, FILLS + WRITES)
    allow_small_disks(project)
    with mounted(disk, "size=2m"):
        status, told = ran(project)
        assert status == 1 and "points.safetensors: the disk is full; free some space and start again" in "".join(told)
        assert left(project) == set() and len(told) <= 3
        remount(disk, "size=20m")
        assert ran(project) == (0, [])
        assert left(project) == {"points.safetensors"}


@pytest.mark.slow
def test_a_folder_that_became_read_only_is_one_clear_line_and_loses_nothing(project):
    disk = project / "data" / "smoke"
    allow_small_disks(project)
    with mounted(disk, "size=20m"):
        assert ran(project)[0] == 0
        whole = (disk / "teacher" / "points.safetensors").read_bytes()
        write(project, WAITS.replace("print(", "open('started', 'w').close()\nprint("))
        remount(disk, "ro")
        status, told = ran(project)
        assert status == 1 and len(told) <= 3
        assert "read-only" in "".join(told).lower()
        remount(disk, "rw")
        assert (disk / "teacher" / "points.safetensors").read_bytes() == whole
        write(project, WRITES)
        assert ran(project)[0] == 0


JUMPS = """
import itertools
import time
true, jumps = time.time, itertools.cycle([0, 10**8, -10**8, 3600, -86400])
time.time = lambda: true() + next(jumps)
time.time_ns = lambda: int(time.time() * 10**9)
"""


@pytest.mark.slow
def test_a_clock_that_jumps_changes_nothing(project, tmp_path):
    assert ran(project)[0] == 0
    whole = (project / "data" / "smoke" / "teacher" / "points.safetensors").read_bytes()
    shutil.rmtree(project / "data")
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(JUMPS)  # of the runner and of its kernel
    write(project, WRITES + "import time\nassert abs(time.time() - time.time()) > 1000")
    begun = time.monotonic()
    assert ran(project, env=os.environ | {"PYTHONPATH": str(tmp_path / "clock")})[0] == 0
    assert (project / "data" / "smoke" / "teacher" / "points.safetensors").read_bytes() == whole
    assert time.monotonic() - begun < 200
