import json
import signal
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from launching import PROCESSES, fork
from pydantic import ValidationError
from seed_runs import contents, finish, interrupt

from gad.config import StudentConfig
from gad.data.pair_generation import generate_noise_pairs
from gad.distillation.nan_guard import NanGuard, NonFiniteLoss
from gad.distillation.objective import build_objective
from gad.distillation.train_students import train_student_seeds
from gad.distillation.training_loop import make_accelerator, train
from gad.models.model import load_model
from gad.models.students import finished_student_seeds, load_students, start_student
from gad.runtime import fingerprint, paths
from gad.runtime.checkpoint import LAST, read_checkpoint

GOLDEN = Path(__file__).parents[1] / "golden" / "smoke_baseline.json"


@pytest.fixture
def start(point_teacher, point_pairs, smoke, tmp_path):
    """Begin to train the seeds of a variant in a folder of that name: the generator and the folder."""

    def start(name, *, variant="gad", **changes):
        config = smoke.student.model_copy(update={"log_every": 1} | changes)
        folder = tmp_path / name
        live = tmp_path / "live" / name
        return train_student_seeds(
            point_teacher, point_pairs, config, variant=variant, folder=folder, live=live
        ), folder

    return start


@pytest.fixture
def one_seed(point_teacher, point_pairs, smoke, tmp_path):
    """Train one baseline student: its states, and the student itself."""

    def one_seed(**changes):
        config = smoke.student.model_copy(update={"log_every": 1} | changes)
        student = start_student(point_teacher, config, seed=0)
        objective = build_objective(point_teacher, student, point_pairs, config, variant="baseline", seed=0)
        return train(
            student, objective, point_pairs, None, config, variant="baseline", seed=0, folder=tmp_path
        ), student

    return one_seed


# step 3 is before the first checkpoint, 7 between two, 5 right after one, 27 in the second seed
@pytest.mark.parametrize("steps", [3, 5, 7, 27])
def test_resume_equals_uninterrupted(start, steps):
    whole = finish(start("whole"))
    interrupt(start("broken"), steps)
    assert finish(start("broken")) == whole
    assert {"training.csv", "seed_0/network.safetensors", "seed_1/network.safetensors"} <= set(whole)


def test_interrupted_twice_equals_uninterrupted(start, tmp_path):
    whole = finish(start("whole"))
    interrupt(start("broken"), 7)
    interrupt(start("broken"), 6)
    assert finish(start("broken")) == whole
    curves = [sorted(tmp_path.glob(f"live/{name}/seed_0/**/gad.tsv")) for name in ("whole", "broken")]
    assert len(curves[0]) == 1 and curves[0][0].read_text() == curves[1][0].read_text()


KILLED = """
import os
import signal
import sys
from pathlib import Path
from gad.config import load_recipe
from gad.models.exact import ExactDenoiser
from gad.data.noise_pairs import NoisePairs
from gad.diffusion.schedule import CosineSchedule
from gad.distillation.train_students import train_student_seeds
from gad.models.model import Model
from gad.data.swiss_roll import make_swiss_roll
import torch
torch.set_num_threads(1)
root = Path(sys.argv[1])
pairs, folder, live = root / "pairs", root / "broken", root / "live" / "broken"
teacher = Model(ExactDenoiser(make_swiss_roll(200, 0).view(-1, 2, 1, 1), CosineSchedule()), (2, 1, 1))
config = load_recipe("smoke").student.model_copy(update={"log_every": 1})
for seed, state in train_student_seeds(teacher, NoisePairs(pairs), config, variant="gad", folder=folder, live=live):
    if state.step == 8:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.xdist_group(PROCESSES)
def test_a_process_that_was_killed_can_be_resumed(start, point_teacher, smoke, tmp_path):
    whole = finish(start("whole"))
    list(generate_noise_pairs(tmp_path / "pairs", point_teacher, "hash", smoke.noise_pairs))
    assert fork(KILLED, tmp_path, processes=1).returncode == -signal.SIGKILL
    assert finished_student_seeds(tmp_path / "broken") == []
    assert finish(start("broken")) == whole


def test_a_finished_run_does_nothing_when_it_is_started_again(start):
    whole = finish(start("whole"))
    run, folder = start("whole")
    assert list(run) == [] and contents(folder) == whole


def test_a_further_seed_keeps_the_finished_ones(start):
    finish(start("grown", seeds=[0]))
    run, folder = start("grown", seeds=[0, 1])
    assert {seed for seed, _ in run} == {1}
    assert contents(folder) == finish(start("whole", seeds=[0, 1]))


def test_a_seed_that_is_no_longer_asked_for_goes(start):
    finish(start("shrunk", seeds=[0, 1]))
    assert finish(start("shrunk", seeds=[0])) == finish(start("whole", seeds=[0]))


def test_what_a_run_killed_between_saving_and_cleaning_left_goes(start):
    whole = finish(start("whole"))
    _, folder = start("whole")
    (folder / "unfinished_0").mkdir()
    assert finish(start("whole")) == whole and not (folder / "unfinished_0").exists()


def test_work_of_other_settings_is_thrown_away(start):
    finish(start("changed", lr=0.01))
    assert finish(start("changed")) == finish(start("whole"))


def test_work_of_older_code_is_thrown_away(start, monkeypatch):
    finish(start("old"))
    monkeypatch.setattr(fingerprint, "code_hash", lambda stage: "changed")
    run, _ = start("old")
    assert next(run)[0] == 0
    run.close()


def test_seeds_differ_and_gad_weight_zero_is_the_baseline_bit_for_bit(start):
    weights = "seed_0/network.safetensors"
    without = finish(start("without", variant="baseline"))
    zero = finish(start("zero", variant="gad", gad_weight=0.0))
    gad = finish(start("gad"))
    assert without[weights] == zero[weights] and without["training.csv"] == zero["training.csv"]
    assert gad[weights] != zero[weights]
    assert gad[weights] != gad["seed_1/network.safetensors"]


def test_a_loss_that_is_not_finite_stops_naming_step_and_term_and_keeps_the_checkpoint(one_seed, tmp_path):
    run, _ = one_seed(lr=1e30, checkpoint_every=1)
    done = 0
    with pytest.raises(NonFiniteLoss, match=r"^loss term 'matching' is (inf|nan) at step (\d+) \(baseline, seed 0\)$"):
        for state in run:
            done = state.step
    assert 0 < done < 20
    kept = read_checkpoint(tmp_path / LAST)
    assert kept["step"] == done
    assert all(tensor.isfinite().all() for tensor in kept["network"].values())


def test_a_gradient_that_is_not_finite_stops_before_it_spoils_the_weights(one_seed):
    run, student = one_seed()
    next(student.network.parameters()).register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(NonFiniteLoss, match=r"^the gradient's norm is nan at step 0 \(baseline, seed 0\)$"):
        list(run)
    assert all(parameter.isfinite().all() for parameter in student.network.parameters())


def test_where_a_device_is_not_waited_for_the_first_term_that_was_not_finite_is_named_later():
    nan_guard = NanGuard("gad", 0, Accelerator(cpu=True))
    nan_guard.at_once = False  # as on a GPU, or with several processes
    bad = {3: "sid", 4: "total"}
    for step in range(6):
        nan_guard.check_terms({name: torch.tensor(0.0) for name in ("sid", "gad", "total")}, step)
        if step in bad:
            nan_guard.check_terms({bad[step]: torch.tensor(float("nan"))}, step)
        nan_guard.check_norm(torch.tensor(1.0), step)
        if step < 3:
            nan_guard.raise_late()
    with pytest.raises(NonFiniteLoss, match=r"^loss term 'sid' is not finite at step 3 \(gad, seed 0\)$"):
        nan_guard.raise_late()


def test_seeds_draw_other_batches_even_from_equal_weights(point_teacher, point_pairs, smoke, tmp_path):
    losses = set()
    for seed in range(3):
        student = start_student(point_teacher, smoke.student, seed=0)
        options = {"variant": "baseline", "seed": seed, "folder": tmp_path / str(seed)}
        config = smoke.student.model_copy(update={"log_every": 1})
        objective = build_objective(point_teacher, student, point_pairs, config, variant="baseline", seed=0)
        run = train(student, objective, point_pairs, None, config, **options)
        losses.add(next(run).terms["matching"])
        run.close()
    assert len(losses) == 3


def test_an_unknown_device_is_refused_in_one_line(smoke):
    with pytest.raises(ValidationError, match="device"):
        StudentConfig(**smoke.student.model_dump() | {"device": "tpu"})
    absent = [name for name in ("cuda", "mps") if not getattr(torch, name).is_available()]
    for name in absent:
        with pytest.raises(ValueError, match=f"^device '{name}' is not available here; use 'cpu' or 'auto'$"):
            make_accelerator(name)
    assert absent


def test_a_process_that_has_trained_on_one_device_is_not_silently_kept_on_it(monkeypatch):
    assert make_accelerator("cpu").device.type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for device in ("cuda", "auto"):
        with pytest.raises(ValueError, match="^device 'cuda' is asked for in a process that has trained on 'cpu'"):
            make_accelerator(device)


def test_training_ends_frozen_at_the_moving_average(one_seed):
    (run, last), (slow_run, average) = one_seed(ema_decay=0.0, checkpoint_every=100), one_seed(checkpoint_every=100)
    states = [[p.detach().clone() for p in average.network.parameters()] for _ in slow_run]
    list(run)
    assert not any(p.requires_grad for p in average.network.parameters()) and not average.network.training
    shadow = states[0]  # diffusers copies first, then averages with (1 + n) / (10 + n)
    for done, weights in enumerate(states[1:], start=1):
        decay = min(0.9, (1 + done) / (10 + done))
        shadow = [decay * a + (1 - decay) * b for a, b in zip(shadow, weights, strict=True)]
    for p, expected, plain in zip(average.network.parameters(), shadow, states[-1], strict=True):
        assert torch.allclose(p, expected, atol=1e-6) and not torch.equal(p, plain)
    for p, plain in zip(last.network.parameters(), states[-1], strict=True):
        assert torch.equal(p, plain)


def test_golden_curve_of_the_smoke_baseline(one_seed):
    run, _ = one_seed()
    curve = [state.terms["matching"] for state in run]
    assert curve == pytest.approx(json.loads(GOLDEN.read_text()), abs=1e-5)


def test_training_lowers_the_loss(one_seed):
    run, _ = one_seed(num_steps=300, lr=0.01, log_every=10, checkpoint_every=300)
    curve = [state.terms["matching"] for state in run]
    assert sum(curve[-5:]) < 0.5 * sum(curve[:5])


def test_saved_students_are_found_with_variant_and_seed(start, point_teacher, monkeypatch, tmp_path):
    run, folder = start("made")
    list(run)
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    with pytest.raises(ValueError, match="recipe 'smoke' has no finished students"):
        load_students("smoke", point_teacher)
    place = paths.stage_dir("smoke", "student", "gad")
    place.parent.mkdir(parents=True)
    folder.rename(place)
    found = load_students("smoke", point_teacher)
    assert [(variant, seed) for variant, seed, _ in found] == [("gad", 0), ("gad", 1)]
    x, t = torch.randn(3, 2, 1, 1), torch.ones(3)
    assert torch.equal(found[1][2].denoiser(x, t, None), load_model(place / "seed_1").denoiser(x, t, None))
