"""Students after regression on the stored pairs: one start for all variants of a seed, the same whoever makes it."""

import multiprocessing

import pytest
import torch

from gad.config import StudentConfig
from gad.data.noise_pairs import NoisePairs
from gad.distillation.regression_start import RegressionStart, regression_start_config, regression_start_key
from gad.distillation.train_students import train_student_seeds
from gad.distillation.training_loop import num_training_steps
from gad.evaluation.sensitivity.initialisation import initialisation_metrics
from gad.models.model import load_model
from gad.models.students import start_student
from gad.runtime.files import file_lock

CHANGES = {"paradigm": "tdm", "start": "regression", "start_steps": 12, "start_lr": 0.01, "log_every": 5}


@pytest.fixture
def config(smoke):
    return StudentConfig(**smoke.student.model_dump() | CHANGES)


@pytest.fixture
def train_variant(point_teacher, point_pairs, config, tmp_path):
    def train_variant(variant, *, root="one", **changes):
        folder, live = tmp_path / root / variant, tmp_path / root / "live" / variant
        settings = config.model_copy(update=changes)
        run = train_student_seeds(point_teacher, point_pairs, settings, variant=variant, folder=folder, live=live)
        return list(run), folder

    return train_variant


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_initialisation_is_a_variant_of_no_steps_from_which_the_others_start(
    train_variant, point_teacher, point_pairs, config, tmp_path
):
    states, folder = train_variant("initialisation")
    assert [(seed, state.step) for seed, state in states] == [(0, 0), (1, 0)]
    assert num_training_steps(config, "initialisation") == 0
    log = (folder / "start_0.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in log[1:]] == ["5", "10", "12"]
    start = load_model(folder / "seed_0")
    fresh = start_student(point_teacher, config, seed=0)
    made = list((tmp_path / "one" / "live" / "start").glob("*/seed_0/network.safetensors"))
    assert len(made) == 1
    prepared = RegressionStart(point_pairs, None, config, tmp_path / "one/live/start", tmp_path / "live")
    prepared.apply(fresh, 0)
    x, t = torch.randn(3, 2, 1, 1), torch.ones(3)
    assert torch.equal(start.denoiser(x, t), fresh(x, t))
    assert not torch.equal(start.denoiser(x, t), load_model(folder / "seed_1").denoiser(x, t))


def test_regression_has_brought_it_closer_to_the_teacher(train_variant):
    gap = {
        steps: train_variant("initialisation", root=str(steps), start_steps=steps)[0][0][1].terms["matching"]
        for steps in (1, 200)
    }
    assert gap[200] < 0.5 * gap[1]


def test_a_variant_is_the_same_whether_it_made_the_start_or_found_it(train_variant):
    _, first = train_variant("gad")
    train_variant("initialisation", root="two")
    _, second = train_variant("gad", root="two")
    assert contents(first) == contents(second)
    assert {"start_0.csv", "log_0.csv", "trained.json"} <= contents(first).keys()


def test_the_start_depends_on_nothing_that_only_the_base_loss_sees(config, point_pairs):
    key = regression_start_key(config, point_pairs)
    for same in ({"gad_weight": 0.5}, {"num_steps": 99}, {"paradigm": "sid"}, {"auxiliary_updates": 5}, {"seeds": [7]}):
        assert regression_start_key(config.model_copy(update=same), point_pairs) == key
    for other in ({"start_steps": 13}, {"start_lr": 0.1}, {"lr": 0.5}, {"target": "endpoint"}, {"hidden": 8}):
        assert regression_start_key(config.model_copy(update=other), point_pairs) != key
    assert regression_start_config(config).paradigm == "matching" and regression_start_config(config).num_steps == 12
    assert regression_start_config(config.model_copy(update={"target": "end_to_end"})).target == "next_state"
    assert regression_start_config(config.model_copy(update={"start_lr": None})).lr == config.lr


def test_without_regression_the_initialisation_is_where_students_are_built(train_variant, point_teacher, config):
    _, folder = train_variant("initialisation", start="teacher", start_steps=0, start_lr=None)
    x, t = torch.randn(3, 2, 1, 1), torch.ones(3)
    built = start_student(point_teacher, config, seed=1)
    assert torch.equal(load_model(folder / "seed_1").denoiser(x, t), built(x, t))
    assert not (folder / "start_1.csv").exists()


def test_the_teachers_network_is_not_taken_for_the_initialisation(point_teacher, smoke, config):
    with pytest.raises(ValueError, match="start after regression: train the variant initialisation instead"):
        initialisation_metrics(point_teacher, smoke.model_copy(update={"student": config}))


def make_start(teacher, folder, config, root, done):
    pairs = NoisePairs(folder)
    student = start_student(teacher, config, seed=0)
    RegressionStart(pairs, None, config, root / "start", root / "live").apply(student, 0)
    done.put({name: value.tolist() for name, value in student.network.state_dict().items()})


def test_two_processes_at_once_make_one_start(point_teacher, point_pairs, config, tmp_path):
    context = multiprocessing.get_context("fork")
    done = context.Queue()
    given = (point_teacher, point_pairs.folder, config, tmp_path, done)
    processes = [context.Process(target=make_start, args=given) for _ in range(2)]
    for process in processes:
        process.start()
    first, second = (done.get(timeout=120) for _ in processes)
    for process in processes:
        process.join()
    assert first == second
    assert not list(tmp_path.glob("start/*/seed_0/unfinished"))


def test_a_lock_is_free_again_after_an_error(tmp_path):
    with pytest.raises(KeyError), file_lock(tmp_path / "lock"):
        raise KeyError
    with file_lock(tmp_path / "lock"):
        pass
