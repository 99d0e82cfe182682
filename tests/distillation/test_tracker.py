"""What a training logs can be monitored with dvclive, TensorBoard or W&B; the tables stay the record."""

import importlib.util
import json
import subprocess

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gad.config import ValidationConfig
from gad.distillation.tracker import check_tracker, open_tracker
from gad.distillation.train_students import train_student_seeds

CURVES = ValidationConfig(num_noises=16, num_prompts=4, first_step=5)


def test_a_git_repository_without_a_commit_costs_the_live_metrics_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").touch()
    with open_tracker("dvclive", tmp_path / "live") as tracker:
        assert tracker is None
    told = capsys.readouterr().err
    assert told.startswith(f"no live metrics in {tmp_path / 'live'}: ") and told.count("\n") == 1


def test_a_tracker_that_is_not_installed_is_one_line_before_anything_is_trained(
    point_teacher, point_pairs, smoke, tmp_path, monkeypatch
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    config = smoke.student.model_copy(update={"tracker": "wandb"})
    options = {"variant": "gad", "folder": tmp_path / "gad", "live": tmp_path / "live"}
    with pytest.raises(ValueError, match="^student.tracker wandb needs wandb; run: pip install wandb, or leave the"):
        next(train_student_seeds(point_teacher, point_pairs, config, **options))
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    check_tracker("dvclive")


@pytest.fixture
def trained(point_teacher, point_pairs, smoke, tmp_path):
    """Train a seed, with held-out curves, monitored by that tracker; its log and curves, and the tracker's folder."""

    def trained(tracker: str):
        pytest.importorskip(tracker, reason=f"{tracker} is not installed")
        changes = {"tracker": tracker, "seeds": [0], "log_every": 5, "validation": CURVES}
        places = {"folder": tmp_path / tracker, "live": tmp_path / "live" / tracker}
        config = smoke.student.model_copy(update=changes)
        list(train_student_seeds(point_teacher, point_pairs, config, variant="gad", **places))
        tables = [pd.read_csv(places["folder"] / name) for name in ("training.csv", "validation.csv")]
        return *tables, places["live"] / "seed_0"

    return trained


def image(folder) -> tuple:
    """A picture's file, and its pixels."""
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    Image.fromarray(pixels).save(folder / "grid.png")
    return folder / "grid.png", pixels


def test_tensorboard_holds_every_number_of_the_tables_at_its_step(trained):
    log, curves, folder = trained("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    for section, table in {"train": log, "validation": curves}.items():
        for name in (tag for tag in events.Tags()["scalars"] if tag.startswith(f"{section}/")):
            found = {event.step: event.value for event in events.Scalars(name)}
            column = table.set_index("step")[name.removeprefix(f"{section}/")].dropna()
            assert found == pytest.approx(column.to_dict(), rel=1e-6)
    assert {"train/total", "train/gad", "validation/jvp_cosine_isotropic"} <= set(events.Tags()["scalars"])


def test_tensorboard_holds_image_grids_and_a_run_that_goes_on_replaces_the_files_of_its_beginning(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    path, pixels = image(tmp_path)
    for step in (3, 7):
        with open_tracker("tensorboard", tmp_path / "live" / "seed_0") as tracker:
            tracker.log_image("validation", path, step)
    assert len(list((tmp_path / "live" / "seed_0").iterdir())) == 1
    (event,) = EventAccumulator(str(tmp_path / "live" / "seed_0")).Reload().Images("validation")
    (tmp_path / "found.png").write_bytes(event.encoded_image_string)
    assert event.step == 7 and (np.asarray(Image.open(tmp_path / "found.png")) == pixels).all()


def test_wandb_keeps_a_run_offline_with_every_number_of_the_tables(trained, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    log, curves, folder = trained("wandb")
    (run,) = folder.rglob("offline-run-*/run-*.wandb")
    kept = run.read_bytes()  # numbers are JSON texts in it
    assert all(name in kept for name in (b"train/total", b"validation/jvp_cosine_isotropic"))
    for column in (log["total"], log["gad"], curves["jvp_cosine_isotropic"]):
        assert all(json.dumps(number).encode() in kept for number in column)
