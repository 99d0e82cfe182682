"""What is measured batch by batch: kept as it comes, gone on from after a kill, and shared out."""

from functools import partial

import pandas as pd
import pytest
import torch
from torch import nn

from gad.config.prompts import PromptsConfig
from gad.data.prompts import load_prompts
from gad.diffusion.schedule import CosineSchedule
from gad.evaluation.sensitivity.analysis_noise import analysis_ids
from gad.evaluation.sensitivity.batches import Comparison, measured_in_batches, sensitivity_batches_key
from gad.evaluation.sensitivity.end_to_end import SAMPLES, end_to_end_at, measure_end_to_end
from gad.evaluation.sensitivity.per_noise_level import measure_noise_levels
from gad.evaluation.sensitivity.precompute import precompute_batches, precompute_sensitivity
from gad.evaluation.sensitivity.trajectory import measure_trajectories
from gad.models.model import Model
from gad.models.students import start_student

MEASURES = (measure_end_to_end, measure_noise_levels, measure_trajectories)


@pytest.fixture
def settings(smoke):
    """16 noises in batches of 5."""
    sensitivity = smoke.sensitivity.model_copy(update={"batch_size": 5})
    return smoke.model_copy(update={"sensitivity": sensitivity})


def networks(teacher: Model, settings, seeds=(0, 1)) -> list:
    return [("gad", s, Model(start_student(teacher, settings.student, seed=s), (2, 1, 1))) for s in seeds]


def process(monkeypatch, rank: int, processes: int) -> None:
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", str(processes))


def same(ours, theirs) -> bool:
    ours, theirs = (pd.concat(list(rows), ignore_index=True) for rows in (ours, theirs))
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    return len(ours) > 0


def compared(teacher: Model, students: list, settings) -> Comparison:
    return Comparison(teacher, students, settings.sensitivity, settings.sampling)


def counted(asked: list, *inputs):
    asked.append(inputs[0].start)
    yield from end_to_end_at(*inputs)


def test_rows_are_the_same_bits_kept_and_read_back(point_teacher, settings, tmp_path):
    students = networks(point_teacher, settings)
    for measure in MEASURES:
        plain = list(measure(point_teacher, students, settings))
        assert same(measure(point_teacher, students, settings, cache_dir=tmp_path), plain)
        again = list(measure(point_teacher, students, settings, cache_dir=tmp_path))
        assert len(again) == len(plain) and same(again, plain)


def test_a_killed_analysis_goes_on_from_the_batches_that_are_done(point_teacher, settings, tmp_path):
    asked, students = [], networks(point_teacher, settings)
    run = partial(measured_in_batches, SAMPLES, partial(counted, asked), compared(point_teacher, students, settings))
    killed = run(tmp_path)
    for _ in range(3):  # two students of the first batch, one of the second
        next(killed)
    killed.close()
    start = analysis_ids(settings.sensitivity).start
    assert asked == [start, start + 5]
    whole = list(run(tmp_path))
    assert asked[2:] == [start + 5, start + 10, start + 15]
    assert same(whole, run(None))


@pytest.mark.parametrize("change", ["student", "noises", "chain"])
def test_what_was_kept_of_others_is_measured_anew(point_teacher, settings, tmp_path, change):
    students, options = networks(point_teacher, settings), {"cache_dir": tmp_path}
    list(measure_end_to_end(point_teacher, students, settings, **options))
    if change == "student":
        students = networks(point_teacher, settings, seeds=(0, 2))
    section = {"noises": "sensitivity", "chain": "noise_pairs"}.get(change)
    if section:
        update = {"seed": 1} if change == "noises" else {"teacher_steps": 3}
        settings = settings.model_copy(update={section: getattr(settings, section).model_copy(update=update)})
    found = list(measure_end_to_end(point_teacher, students, settings, **options))
    assert same(found, measure_end_to_end(point_teacher, students, settings))


def test_a_file_of_prompts_that_has_changed_is_another_owner(point_teacher, settings, tmp_path):
    file, owners = tmp_path / "prompts.txt", []
    chain = settings.noise_pairs.model_copy(update={"prompts": PromptsConfig(file=str(file))})
    settings = settings.model_copy(update={"noise_pairs": chain})
    for lines in ("a cat\na dog\n", "a cat\na dog\na car\n"):
        file.write_text(lines)
        load_prompts.cache_clear()  # a new process
        owners.append(sensitivity_batches_key(SAMPLES, compared(point_teacher, [], settings)))
    assert owners[0] != owners[1]


def test_the_stage_finds_what_two_processes_did(point_teacher, settings, tmp_path, monkeypatch):
    students, said = networks(point_teacher, settings), []
    plain = [list(measure(point_teacher, students, settings)) for measure in MEASURES]
    for rank in (0, 1):
        process(monkeypatch, rank, 2)
        said += precompute_sensitivity(point_teacher, students, settings, cache_dir=tmp_path)
    assert sorted(said) == sorted(
        f"{name}: batch {number} of 4" for name in ("samples", "noise_levels", "trajectory") for number in (1, 2, 3, 4)
    )
    process(monkeypatch, 0, 1)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    for measure, rows in zip(MEASURES, plain, strict=True):
        assert same(measure(point_teacher, students, settings, cache_dir=tmp_path), rows)
    assert kept == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}


class Sine(torch.autograd.Function):
    """An operation without forward mode."""

    @staticmethod
    def forward(ctx, x):
        return x.sin()


class SineDenoiser(nn.Module):
    schedule = CosineSchedule()

    def forward(self, x_t, t, conditioning=None):
        return Sine.apply(x_t)


@pytest.mark.filterwarnings("ignore:.*derivatives are taken by difference")
def test_processes_measure_a_map_without_forward_mode_at_one_step(point_teacher, settings, tmp_path, monkeypatch):
    students = [("gad", 0, Model(SineDenoiser(), (2, 1, 1)))]
    plain = list(measure_end_to_end(point_teacher, students, settings))
    for rank in (0, 1):
        process(monkeypatch, rank, 2)
        list(precompute_batches(SAMPLES, end_to_end_at, compared(point_teacher, students, settings), tmp_path))
    process(monkeypatch, 0, 1)
    assert same(measure_end_to_end(point_teacher, students, settings, cache_dir=tmp_path), plain)
