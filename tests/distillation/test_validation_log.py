"""Held-out curves while students train: what is written, and that training does not notice."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image
from seed_runs import finish, interrupt

from gad.config import NoisePairsConfig, StudentConfig, ValidationConfig
from gad.data.noise_pairs import NoisePairs
from gad.data.pair_generation import generate_noise_pairs
from gad.distillation.objective import build_objective
from gad.distillation.train_students import train_student_seeds
from gad.distillation.training_loop import train
from gad.distillation.validation_log import read_validation_image_rows, write_validation_image_rows
from gad.metrics.validation import prepare_validation
from gad.models.model import load_model
from gad.models.students import start_student, student_seed_dir

FEW = ValidationConfig(num_noises=16, num_prompts=4, first_step=5)


@pytest.fixture
def start(point_teacher, point_pairs, smoke, tmp_path):
    """Begin to train in a folder of that name, validated unless told otherwise: the generator and the folder."""

    def start(name, variant="gad", **changes):
        config = smoke.student.model_copy(update={"validation": FEW, "log_every": 1} | changes)
        folder, live = tmp_path / name, tmp_path / "live" / name
        options = {"folder": folder, "live": live, "validation_cache": tmp_path / "cache"}
        return train_student_seeds(point_teacher, point_pairs, config, variant=variant, **options), folder

    return start


def test_training_does_not_notice_that_it_is_validated(start):
    plain, validated = finish(start("plain", validation=None)), finish(start("validated"))
    assert set(validated) - set(plain) == {"validation.csv", "validation_0.csv", "validation_1.csv"}
    assert all(validated[name] == plain[name] for name in plain if name != "fingerprint.txt")


def test_rows_of_all_seeds_stand_in_one_table_at_doubling_steps(start):
    _, folder = started = start("made")
    finish(started)
    with open(folder / "validation.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["seed"], row["step"]) for row in rows] == [(s, k) for s in "01" for k in ("0", "5", "10", "20")]
    assert all(row["jvp_cosine_isotropic"] and row["mode_coverage_teacher"] for row in rows)


def test_the_initialisation_is_validated_where_the_curves_of_the_others_begin(start):
    first = {}
    for name in ("initialisation", "gad"):
        _, folder = started = start(name, variant=name)
        finish(started)
        with open(folder / "validation.csv", newline="") as file:
            first[name] = [row for row in csv.DictReader(file) if row["step"] == "0"]
    assert len(first["gad"]) == 2 and first["initialisation"] == first["gad"]


# 3 is between a validation and a checkpoint, 7 after one, 12 after the validation of step 10, 27 in the second seed
@pytest.mark.parametrize("steps", [3, 7, 12, 27])
def test_a_run_that_was_killed_ends_with_the_same_curves(start, tmp_path, steps):
    whole = finish(start("whole"))
    interrupt(start("broken", checkpoint_every=4), steps)
    broken = finish(start("broken", checkpoint_every=4))
    assert {name: broken[name] for name in whole if name not in ("fingerprint.txt", "trained.json")} == {
        name: whole[name] for name in whole if name not in ("fingerprint.txt", "trained.json")
    }
    lines = [
        next((tmp_path / "live" / name / "seed_0").rglob("validation/jvp_cosine_isotropic.tsv")).read_text()
        for name in ("whole", "broken")
    ]
    assert lines[0] == lines[1] and len(lines[0].splitlines()) == 5


@pytest.mark.slow
def test_seeds_that_train_side_by_side_have_the_curves_of_seeds_one_after_another(start):
    assert finish(start("beside", workers=2)) == finish(start("alone", workers=1))


def test_other_validations_are_made_anew_and_a_seed_that_is_gone_takes_its_curves_along(start):
    finish(start("changed", validation=FEW.model_copy(update={"num_prompts": 8})))
    assert finish(start("changed")) == finish(start("whole"))
    shrunk = finish(start("changed", seeds=[0]))
    assert "validation_0.csv" in shrunk and "validation_1.csv" not in shrunk


def test_what_is_validated_is_the_moving_average_that_is_saved(point_teacher, point_pairs, smoke, tmp_path):
    config = smoke.student.model_copy(update={"validation": FEW, "ema_decay": 0.8})
    student = start_student(point_teacher, config, seed=0)
    objective = build_objective(point_teacher, student, point_pairs, config, variant="gad", seed=0)
    seen = {}

    def validate(step, average):
        assert not average.network.training
        seen[step] = [p.clone() for p in average.network.parameters()]
        torch.rand(7)  # training must not notice

    named = {"variant": "gad", "seed": 0, "folder": tmp_path, "validate": validate}
    first = [p.clone() for p in student.network.parameters()]
    list(train(student, objective, point_pairs, None, config, **named))
    assert list(seen) == [0, 5, 10, 20]
    assert all(torch.equal(ours, p) for ours, p in zip(seen[0], first, strict=True))
    assert all(torch.equal(ours, p) for ours, p in zip(seen[20], student.network.parameters(), strict=True))


def test_students_of_images_leave_a_grid_for_each_step_with_the_teachers_row_above(pipelines, tmp_path):
    pipelines["dit"].save_pretrained(tmp_path / "teacher")
    teacher = load_model(tmp_path / "teacher")
    pairs = NoisePairsConfig(
        num_pairs=4, direction="low_frequency", perturbation_scale=0.1, step="spherical", teacher_steps=2,
        guidance_scale=3.0, student_steps=1, batch_size=4, shard_size=4,
    )  # fmt: skip
    list(generate_noise_pairs(tmp_path / "pairs", teacher, "hash", pairs))
    validation = ValidationConfig(num_noises=4, num_prompts=2, first_step=1, images=3)
    config = StudentConfig(
        num_steps=2, batch_size=2, lr=1e-3, warmup_steps=0, gad_weight=1.0, ema_decay=0.5, seeds=[0],
        validation=validation,
    )  # fmt: skip
    options = {"folder": tmp_path / "gad", "live": tmp_path / "live"}
    list(train_student_seeds(teacher, NoisePairs(tmp_path / "pairs"), config, variant="gad", **options))
    rows = read_validation_image_rows(tmp_path / "gad", 0)
    assert list(rows) == ["teacher", "0 steps", "1 steps", "2 steps"]
    assert {row.shape for row in rows.values()} == {(128, 3 * 128 + 4, 3)}
    trained = load_model(student_seed_dir(tmp_path / "gad", 0), teacher=teacher)
    again = prepare_validation(teacher, pairs, "hash", validation).measure(trained.denoiser, teacher)
    write_validation_image_rows(tmp_path / "again.png", [again.shown])
    assert np.abs(rows["2 steps"].astype(int) - np.asarray(Image.open(tmp_path / "again.png"))).max() <= 1
    live = sorted(path.name for path in (tmp_path / "live").rglob("images/validation/*.png"))
    assert live == ["0.png", "1.png", "2.png"]
