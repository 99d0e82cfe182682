"""What a stage's notebook gets, on a Swiss-roll recipe with one student."""

import pytest

from gad.data.swiss_roll import make_swiss_roll
from gad.models.model import load_model
from gad.models.stage import load_stage
from gad.models.students import save_student, start_student
from gad.report.main_results import main_result_metrics
from gad.runtime import paths
from gad.runtime.files import write_tensors


@pytest.fixture
def recipe(tmp_path, monkeypatch, smoke) -> str:
    """A teacher and a baseline student of the recipe `smoke`, in a data folder of their own."""
    monkeypatch.setattr(paths, "DATA", tmp_path)
    folder = tmp_path / "smoke" / "teacher"
    write_tensors(folder / "points.safetensors", {"points": make_swiss_roll(50, 0)})
    teacher = load_model(folder)
    student = start_student(teacher, smoke.student, seed=0)
    save_student(student, teacher, tmp_path / "smoke" / "student" / "baseline" / "seed_0")
    return "smoke"


def test_a_stage_that_compares_has_the_students(recipe, tmp_path):
    stage = load_stage(recipe, "sensitivity")
    assert [(name, seed) for name, seed, _ in stage.models] == [("baseline", 0)] and not stage.external
    assert stage.section is stage.settings.sensitivity and stage.folder == tmp_path / "smoke" / "sensitivity"
    assert stage.points.shape == (50, 2)


def test_fidelity_reads_the_section_of_sensitivity_and_keeps_a_folder_of_its_own(recipe):
    stage = load_stage(recipe, "fidelity")
    assert stage.section is stage.settings.sensitivity
    assert stage.folder.name == stage.cache.name == "fidelity"


def test_a_stage_before_the_training_needs_no_student(recipe):
    stage = load_stage(recipe, "noise_pairs")
    assert not stage.models and stage.section is stage.settings.noise_pairs


def test_what_has_not_run_yet_is_told_in_one_line_with_the_command(recipe, tmp_path):
    students = tmp_path / "smoke" / "student"
    (students / "baseline").rename(students / "gad")
    command = "gad run student --recipe smoke --variant baseline"
    line = f"^recipe 'smoke' has no finished students of the baseline; run: {command}$"
    with pytest.raises(ValueError, match=line):
        load_stage(recipe, "control")
    (tmp_path / "smoke" / "teacher").rename(tmp_path / "moved")
    with pytest.raises(ValueError, match="^smoke has no teacher yet; run: gad run teacher --recipe smoke$"):
        load_stage(recipe, "noise_pairs")
    with pytest.raises(
        ValueError, match="^smoke has no numbers of sensitivity yet; run: gad run sensitivity --recipe smoke$"
    ):
        main_result_metrics(recipe)
