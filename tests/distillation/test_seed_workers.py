"""Seeds trained side by side in processes of their own: the same bits, whatever happens to the processes."""

import io
import os
import pickle
import re
import subprocess
import sys

import psutil
import pytest
import torch
from tqdm import tqdm

from gad.config import StudentConfig
from gad.distillation.nan_guard import NonFiniteLoss
from gad.distillation.record_student import SeedProgress
from gad.distillation.seed_workers import threads_per_seed, workers_for
from gad.distillation.train_students import train_student_seeds
from gad.models.model import Model
from gad.models.pipelines import pipeline_denoiser
from gad.models.students import finished_student_seeds
from gad.runtime.checkpoint import LAST, read_checkpoint
from gad.runtime.side_by_side import portable_error

CHANGES = {"num_steps": 200, "log_every": 20, "checkpoint_every": 20}  # long enough to be killed on the way


@pytest.fixture
def start(point_teacher, point_pairs, smoke, tmp_path):
    """Begin to train two seeds in a folder of that name: the generator."""

    def start(name, *, workers=1, **changes):
        config = smoke.student.model_copy(update=CHANGES | {"workers": workers} | changes)
        places = {"folder": tmp_path / name, "live": tmp_path / "live" / name}
        return train_student_seeds(point_teacher, point_pairs, config, variant="gad", **places)

    return start


@pytest.fixture
def whole(start, tmp_path) -> dict[str, bytes]:
    """What one process leaves that trains one seed after another."""
    list(start("whole"))
    return contents(tmp_path / "whole")


def contents(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def trainers() -> list[psutil.Process]:
    """The processes that train seeds for this one."""
    return [child for child in psutil.Process().children() if any("side_by_side" in word for word in child.cmdline())]


def test_seeds_side_by_side_end_with_the_bits_of_one_after_another(start, whole, tmp_path):
    broken = start("beside")  # of which seed 0 goes on from a checkpoint and seed 1 begins
    assert [next(broken)[1].step for _ in range(3)] == [20, 40, 60]
    broken.close()
    states = list(start("beside", workers=2))
    assert [state.step for seed, state in states if seed == 0] == [*range(80, 201, 20)]
    assert [state.step for seed, state in states if seed == 1] == [*range(20, 201, 20)]
    assert contents(tmp_path / "beside") == whole
    assert trainers() == []


@pytest.mark.slow
def test_after_its_process_was_killed_a_seed_goes_on_to_the_same_bits(start, whole, tmp_path):
    run = start("broken", workers=2)
    seed, _ = next(run)
    trainers()[seed].kill()  # they were started in order
    with pytest.raises(ChildProcessError, match=rf"^the process of seed {seed} was killed by SIGKILL; .*checkpoint$"):
        list(run)
    assert trainers() == [] and seed not in finished_student_seeds(tmp_path / "broken")
    steps = [state.step for other, state in start("broken") if other == seed]
    assert steps[0] > 20 and contents(tmp_path / "broken") == whole


@pytest.mark.slow
def test_a_loss_that_is_not_finite_in_a_seeds_process_stops_all_and_keeps_the_checkpoint(start, tmp_path):
    run, reported = start("spoilt", workers=2, lr=1e30, log_every=1, checkpoint_every=1), []
    with pytest.raises(NonFiniteLoss, match=r"^loss term '\w+' is (inf|nan) at step \d+ \(gad, seed [01]\)$") as error:
        reported += run
    step, seed = map(int, re.search(r"step (\d+) \(gad, seed (\d)", str(error.value)).groups())
    assert trainers() == [] and finished_student_seeds(tmp_path / "spoilt") == []
    assert read_checkpoint(tmp_path / "spoilt" / f"unfinished_{seed}" / LAST)["step"] == step
    assert not (tmp_path / "spoilt" / "unfinished_job" / "job.pt").exists()


PARENT = """
import sys
from pathlib import Path
import torch
from gad.config import load_recipe
from gad.data.noise_pairs import NoisePairs
from gad.data.swiss_roll import make_swiss_roll
from gad.diffusion.schedule import CosineSchedule
from gad.distillation.train_students import train_student_seeds
from gad.models.exact import ExactDenoiser
from gad.models.model import Model
torch.set_num_threads(1)
root, pairs, changes = Path(sys.argv[1]), Path(sys.argv[2]), eval(sys.argv[3])
teacher = Model(ExactDenoiser(make_swiss_roll(200, 0).view(-1, 2, 1, 1), CosineSchedule()), (2, 1, 1))
config = load_recipe("smoke").student.model_copy(update=changes)
places = {"folder": root / "orphans", "live": root / "live" / "orphans"}
for seed, state in train_student_seeds(teacher, NoisePairs(pairs), config, variant="gad", **places):
    print(seed, state.step, flush=True)
"""


@pytest.mark.slow
def test_after_the_parent_of_seeds_side_by_side_was_killed_they_go_on_to_the_same_bits(
    start, whole, point_pairs, tmp_path
):
    command = [sys.executable, "-c", PARENT, str(tmp_path), str(point_pairs.folder), repr(CHANGES | {"workers": 2})]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        reported = {parent.stdout.readline().split()[0] for _ in range(4)}
        children = psutil.Process(parent.pid).children()
        parent.kill()
    assert reported and len(children) == 2
    assert psutil.wait_procs(children, timeout=10)[1] == []  # none goes on beside the next run
    assert finished_student_seeds(tmp_path / "orphans") != [0, 1]
    list(start("orphans", workers=2))
    assert contents(tmp_path / "orphans") == whole


def test_a_bar_over_seeds_counts_each_of_them_once_and_the_steps_of_earlier_runs_not_in_its_rate():
    bar = tqdm(total=400, disable=False, file=io.StringIO())
    progress = SeedProgress(bar, 100, 10, lambda: [0])
    for seed, step in [(1, 10), (2, 60), (1, 20), (2, 70), (1, 30)]:  # side by side; seed 2 from a checkpoint
        progress.report(seed, step)
    assert bar.n == 100 + 30 + 70 and bar.initial == 100 + 50
    assert bar.format_dict["n"] - bar.format_dict["initial"] == 30 + 20
    bar.close()


def test_a_loss_that_is_not_finite_is_raised_as_it_was_in_the_seeds_process():
    error = NonFiniteLoss("loss term 'gad' is nan at step 3 (gad, seed 1)")
    returned = pickle.loads(pickle.dumps(portable_error(error)))
    assert type(returned) is NonFiniteLoss and str(returned) == str(error)


def test_workers_are_for_long_work_of_several_seeds_in_one_process(point_teacher, smoke, monkeypatch):
    monkeypatch.setattr("gad.distillation.seed_workers.available_cores", lambda: 3)
    long = smoke.student.model_copy(update={"num_steps": 10_000})
    assert workers_for(point_teacher, long, seeds=5) == 3 and workers_for(point_teacher, long, seeds=2) == 2
    assert workers_for(point_teacher, long, seeds=1) == 1
    assert workers_for(point_teacher, smoke.student, seeds=5) == 1  # done before a process has started
    assert workers_for(point_teacher, smoke.student.model_copy(update={"workers": 4}), seeds=5) == 4
    assert workers_for(point_teacher, long.model_copy(update={"shard": True}), seeds=5) == 1
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert workers_for(point_teacher, long, seeds=5) == 1
    with pytest.raises(ValueError, match="workers"):
        StudentConfig(**smoke.student.model_dump() | {"workers": 0})


def test_a_seeds_threads_do_not_hang_on_the_number_of_workers(point_teacher, start):
    torch.set_num_threads(2)
    try:
        assert threads_per_seed(point_teacher) == 1
        run = start("threads")
        next(run)
        assert torch.get_num_threads() == 1
        run.close()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_a_seed_of_a_large_network_has_the_threads_of_its_process_and_of_a_small_one_a_single_thread(
    pipelines, monkeypatch
):
    teacher = Model(pipeline_denoiser(pipelines["flow"]), (4, 16, 16), pipelines["flow"])
    weights = sum(weight.numel() for weight in pipelines["flow"].transformer.parameters())
    torch.set_num_threads(2)
    try:
        for bound, threads in ((weights, 2), (weights + 1, 1)):
            monkeypatch.setattr("gad.distillation.seed_workers.SMALL", bound)
            assert threads_per_seed(teacher) == threads
    finally:
        torch.set_num_threads(1)
