"""Two processes do a stage's evaluation ahead; the stage then sees the bits that one process would have made."""

import os

import pandas as pd
import pytest
import torch
from launching import PROCESSES, fork

from gad.evaluation.control import tasks as control
from gad.evaluation.control.noise_library import build_library
from gad.models.model import Model
from gad.models.sampler import TEACHER, Sampler
from gad.models.students import start_student
from gad.runtime import paths

SCRIPT = """
import os
import signal
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from gad.runtime import paths
from gad.models.sampler import Sampler
from gad.config import load_recipe
from gad.evaluation.control.noise_library import build_library
from gad.evaluation.control.tasks import precompute_tasks
from gad.models.exact import ExactDenoiser
from gad.runtime.distributed import rank_and_world_size
from gad.diffusion.schedule import CosineSchedule
from gad.models.students import start_student
from gad.models.model import Model
from gad.data.swiss_roll import make_swiss_roll
root = Path(sys.argv[1])
paths.DATA = root / "data"
settings = load_recipe("smoke")
teacher = Model(ExactDenoiser(make_swiss_roll(200, 0).view(-1, 2, 1, 1), CosineSchedule()), (2, 1, 1))
students = [("baseline", s, Model(start_student(teacher, settings.student, seed=s), (2, 1, 1))) for s in (0, 1)]
asked = Sampler("teacher", 0, teacher, 4)
list(build_library(root / "library", asked, None, [""] * 20, seed=0, shard_size=4))
for number, line in enumerate(precompute_tasks(teacher, students, settings, cache_dir=root / "cache")):
    sys.stdout.write(f"{rank_and_world_size()[0]} {line}\\n")  # at once: lines of two processes do not mix
    sys.stdout.flush()
    if len(sys.argv) > 2 and rank_and_world_size()[0] == 1 and number == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
"""

pytestmark = pytest.mark.xdist_group(PROCESSES)


def of_one(smoke, point_teacher, **options) -> list:
    """Every result of the stage in this process."""
    all_models = [
        ("baseline", s, Model(start_student(point_teacher, smoke.student, seed=s), (2, 1, 1))) for s in (0, 1)
    ]
    return list(control.run_tasks(point_teacher, all_models, smoke, **options))


def same(ours, theirs) -> bool:
    for a, b in zip(ours, theirs, strict=True):
        pd.testing.assert_frame_equal(a.rows, b.rows, check_exact=True)
        assert torch.equal(a.outputs, b.outputs) and a.numbers == b.numbers
    return [(r.task, r.variant, r.seed) for r in ours] == [(r.task, r.variant, r.seed) for r in theirs]


@pytest.fixture
def none_is_run(monkeypatch):
    """No task can be run any more."""

    def refuse():
        for task in control.TASKS.values():
            monkeypatch.setattr(task, "run", None)
            monkeypatch.setattr(task, "prepare", lambda *_: pytest.fail("a task was prepared"))

    return refuse


def test_the_stage_finds_what_two_processes_did(smoke, point_teacher, tmp_path, monkeypatch, none_is_run):
    root = tmp_path / "two"
    root.mkdir()
    done = fork(SCRIPT, root)
    assert done.returncode == 0, done.stderr[-3000:]
    said = done.stdout.splitlines()
    models = ("teacher, seed 0", "baseline, seed 0", "baseline, seed 1")
    wanted = sorted(f"{task}: {model}" for task in smoke.control.tasks for model in models)
    assert sorted(line[2:] for line in said) == wanted and {line[0] for line in said} == {"0", "1"}
    monkeypatch.setattr(paths, "DATA", tmp_path)
    alone = of_one(smoke, point_teacher)
    none_is_run()
    assert same(of_one(smoke, point_teacher, cache_dir=root / "cache"), alone)
    # the library of two processes is that of one
    asked = Sampler(TEACHER, 0, point_teacher, 4)
    list(build_library(tmp_path / "own", asked, None, [""] * 20, seed=0, shard_size=4))
    ours = {path.name: path.read_bytes() for path in (tmp_path / "own").iterdir()}
    assert {path.name: path.read_bytes() for path in (root / "library").iterdir()} == ours and len(ours) == 7


def test_after_a_kill_two_processes_go_on_from_what_is_done(smoke, point_teacher, tmp_path, monkeypatch):
    assert fork(SCRIPT, tmp_path, 1).returncode != 0
    found = (tmp_path / "cache").rglob("*.parquet")
    # the kill may have met one on its way
    whole = [path for path in found if not path.parent.name.endswith(".partial")]
    kept = {path: os.stat(path).st_mtime_ns for path in whole}
    assert 2 <= len(kept) < 9
    assert fork(SCRIPT, tmp_path).returncode == 0
    assert all(os.stat(path).st_mtime_ns == time for path, time in kept.items())
    monkeypatch.setattr(paths, "DATA", tmp_path / "alone")
    assert same(of_one(smoke, point_teacher, cache_dir=tmp_path / "cache"), of_one(smoke, point_teacher))
