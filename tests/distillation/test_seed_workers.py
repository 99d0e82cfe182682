"""Seeds trained side by side in processes of their own: the same bits, whatever happens to the processes."""

import pickle

import psutil
import pytest
import torch

from gad.config import StudentConfig
from gad.distillation.nan_guard import NonFiniteLoss
from gad.distillation.seed_workers import threads_per_seed, workers_for
from gad.distillation.train_students import train_seeds
from gad.models.students import finished_student_seeds
from gad.runtime.side_by_side import portable_error

CHANGES = {"num_steps": 200, "log_every": 20, "checkpoint_every": 20}  # long enough to be killed on the way


@pytest.fixture
def start(point_teacher, point_pairs, smoke, tmp_path):
    """Begin to train two seeds in a folder of that name: the generator."""

    def start(name, *, workers=1, **changes):
        config = smoke.student.model_copy(update=CHANGES | {"workers": workers} | changes)
        places = {"folder": tmp_path / name, "live": tmp_path / "live" / name}
        return train_seeds(point_teacher, point_pairs, config, variant="gad", **places)

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


def test_after_its_process_was_killed_a_seed_goes_on_to_the_same_bits(start, whole, tmp_path):
    run = start("broken", workers=2)
    seed, _ = next(run)
    trainers()[seed].kill()  # they were started in order
    with pytest.raises(ChildProcessError, match=rf"^the process of seed {seed} was killed by SIGKILL; .*checkpoint$"):
        list(run)
    assert trainers() == [] and seed not in finished_student_seeds(tmp_path / "broken")
    steps = [state.step for other, state in start("broken") if other == seed]
    assert steps[0] > 20 and contents(tmp_path / "broken") == whole


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
