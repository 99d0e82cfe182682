"""Local folders as the hub has them go through every task and measure."""

import math

import pandas as pd
import pytest

from gad.evaluation.control.tasks import TASKS, run_tasks
from gad.evaluation.fidelity.fidelity import measure_fidelity
from gad.evaluation.fidelity.inversion import measure_inversion
from gad.evaluation.fidelity.negative_prompts import measure_negative_prompts
from gad.evaluation.sensitivity.seed_identification import measure_seeds
from gad.models.model import Model
from gad.models.students import start_student
from gad.runtime import paths


@pytest.fixture
def models(hub_run, tmp_path, monkeypatch):
    """Settings, the teacher, and a student at initialisation; what is made lies in a temporary place."""
    monkeypatch.setattr(paths, "DATA", tmp_path)
    settings, teacher, _, _ = hub_run
    student = start_student(teacher, settings.student, seed=0)
    return settings, teacher, [("gad", 0, Model(student, teacher.latent_shape, teacher.pipeline))]


@pytest.mark.slow_for("sdxl_tdm", "sd21_ladd", "sana_sid")
def test_a_hub_folder_goes_through_every_control_task(models):
    settings, teacher, students = models
    results = list(run_tasks(teacher, students, settings))
    assert [(r.task, r.variant) for r in results] == [(task, name) for task in TASKS for name in ("teacher", "gad")]
    for result in results:
        assert len(result.rows) == len(result.outputs) and result.outputs.isfinite().all()
        assert result.numbers and all(map(math.isfinite, result.numbers.values())), result.task


@pytest.mark.slow_for("sdxl_tdm")
def test_a_hub_folders_seeds_images_inversion_and_negative_prompts_are_measured(models):
    settings, teacher, students = models
    seeds = pd.concat(list(measure_seeds(teacher, students, settings)))
    scored, distances = map(pd.concat, zip(*measure_fidelity(teacher, students, settings), strict=True))
    inverted = pd.concat(list(measure_inversion(teacher, students, settings)))
    negative = pd.concat(list(measure_negative_prompts(teacher, students, settings)))
    for rows in (seeds, scored, inverted, negative):
        assert rows["variant"].unique().tolist() == ["teacher", "gad"]
    assert scored["clip"].notna().all() and len(scored) == 32
    assert distances["reference"].tolist() == ["teacher"]
    assert inverted.notna().all(axis=None) and negative.notna().all(axis=None)
