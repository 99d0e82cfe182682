"""Noise pairs and students keep their place after a change of code that left their numbers as they were."""

import pytest

from gad.data.emoji.teacher import make_teacher
from gad.data.noise_pairs import NoisePairs
from gad.data.pair_generation import generate_noise_pairs, pair_generation_cache_key
from gad.distillation import cache_keys
from gad.distillation.cache_keys import renew_cache_keys, student_cache_key
from gad.distillation.train_students import train_student_seeds
from gad.models.model import load_model
from gad.runtime import paths
from gad.runtime.files import read_json, write_json
from gad.runtime.fingerprint import fingerprint
from gad.runtime.folder_lock import folder_is_locked_to, lock_folder_to


@pytest.fixture
def made(smoke, tmp_path, monkeypatch):
    """The smoke recipe's pairs and baseline, made by other code: their keys, and how the baseline is trained."""
    monkeypatch.setattr(paths, "DATA", tmp_path)
    monkeypatch.setattr(cache_keys, "recipe_names", lambda: ["smoke"])
    folders = {name: paths.stage_dir("smoke", name) for name in ("teacher", "noise_pairs", "student")}
    list(make_teacher(smoke.teacher, folders["teacher"], tmp_path / "no_vae"))
    teacher, teacher_hash = load_model(folders["teacher"]), fingerprint(folders["teacher"])
    list(generate_noise_pairs(folders["noise_pairs"], teacher, teacher_hash, smoke.noise_pairs))
    baseline = folders["student"] / "baseline"

    def train() -> int:
        pairs = NoisePairs(folders["noise_pairs"])
        options = {"variant": "baseline", "folder": baseline, "live": tmp_path / "live"}
        return len(list(train_student_seeds(teacher, pairs, smoke.student, **options)))

    assert train() > 0
    keys = {
        folders["noise_pairs"]: pair_generation_cache_key(smoke.noise_pairs, teacher_hash),
        baseline: student_cache_key(smoke.student, "baseline", NoisePairs(folders["noise_pairs"])),
    }
    for folder in keys:
        lock_folder_to(folder, "of other code")
    return keys, train


def test_renewed_keys_are_those_of_the_present_code_and_nothing_is_trained_again(made):
    keys, train = made
    assert list(renew_cache_keys()) == ["smoke: noise pairs", "smoke: students of baseline"]
    assert all(folder_is_locked_to(folder, key) for folder, key in keys.items())
    assert train() == 0


def test_students_of_other_settings_keep_their_old_key(made):
    keys, train = made
    pairs, baseline = keys
    write_json(baseline / "trained.json", read_json(baseline / "trained.json") | {"student.lr": 0.5})
    lines = list(renew_cache_keys())
    assert lines[0] == "smoke: noise pairs" and lines[1].startswith("smoke: left as it is: students of baseline were")
    assert folder_is_locked_to(baseline, "of other code") and train() > 0


def test_records_of_older_keys_are_read_under_their_new_names(made):
    keys, _ = made
    pairs, baseline = keys
    for path in (pairs / "manifest.json", baseline / "trained.json"):
        record = read_json(path)
        values = record["config"] if "config" in record else record
        name = next(key for key in values if key.endswith("student_steps"))
        values[name.replace("student_steps", "num_nodes")] = values.pop(name)
        write_json(path, record, digits=17)
    assert len(list(renew_cache_keys())) == 2 and all(folder_is_locked_to(folder, key) for folder, key in keys.items())
