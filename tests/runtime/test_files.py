import os

import pytest
import torch

from gad.runtime import paths
from gad.runtime.files import atomic_write_path, read_json, read_tensors, write_json, write_tensors
from gad.runtime.folder_lock import lock_folder


def test_an_error_leaves_the_old_file_and_nothing_half_written(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_write_path(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]


def test_an_error_leaves_the_old_folder_and_nothing_half_written(tmp_path):
    write_tensors(tmp_path / "folder" / "old", {"x": torch.ones(1)})
    with pytest.raises(RuntimeError), atomic_write_path(tmp_path / "folder") as partial:
        partial.mkdir()
        (partial / "new").write_text("half")
        raise RuntimeError
    assert os.listdir(tmp_path) == ["folder"] and os.listdir(tmp_path / "folder") == ["old"]


def test_a_folder_is_replaced_whole(tmp_path):
    for name in ("old", "new"):
        with atomic_write_path(tmp_path / "folder") as partial:
            partial.mkdir()
            (partial / name).write_text(name)
    assert os.listdir(tmp_path) == ["folder"] and os.listdir(tmp_path / "folder") == ["new"]


def test_what_a_killed_writer_left_does_not_matter(tmp_path):
    (tmp_path / ".file.partial").mkdir()
    (tmp_path / ".file.partial" / "rest").write_text("half")
    with atomic_write_path(tmp_path / "file") as partial:
        partial.write_text("whole")
    assert os.listdir(tmp_path) == ["file"]


def test_equal_values_give_equal_bytes_whatever_their_order(tmp_path):
    write_json(tmp_path / "a", {"x": 1 / 3, "y": {"b": (1, 2.0), "a": float("nan")}})
    write_json(tmp_path / "b", {"y": {"a": float("inf"), "b": [1, 2.0]}, "x": 0.33333333})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_json(tmp_path / "a") == {"x": 0.333333, "y": {"a": None, "b": [1, 2.0]}}


def test_tensors_come_back(tmp_path):
    tensors = {"a": torch.randn(3, 2).T, "b": torch.arange(3)}
    write_tensors(tmp_path / "t", tensors)
    back = read_tensors(tmp_path / "t")
    assert all(torch.equal(tensors[name], back[name]) for name in tensors)


@pytest.mark.parametrize("content", [None, b"", b"nonsense that is long enough to be a header"])
def test_tensors_that_cannot_be_read_are_refused_in_one_line(tmp_path, content):
    if content is not None:
        (tmp_path / "t").write_bytes(content)
    with pytest.raises(ValueError, match="cannot read") as error:
        read_tensors(tmp_path / "t")
    assert len(str(error.value).splitlines()) == 1


def test_claim_keeps_own_work_and_throws_foreign_work_away(tmp_path):
    folder = tmp_path / "a" / "work"
    lock_folder(folder, "me")
    (folder / "shard").write_text("mine")
    lock_folder(folder, "me")
    assert (folder / "shard").exists()
    lock_folder(folder, "you")
    assert os.listdir(folder) == ["fingerprint.txt"]


def test_claim_throws_work_of_nobody_away(tmp_path):
    (tmp_path / "shard").write_text("whose?")
    lock_folder(tmp_path, "me")
    assert not (tmp_path / "shard").exists()


def test_stage_folders_lie_below_the_recipe(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "DATA", tmp_path)
    assert paths.stage_dir("smoke", "student", "gad") == tmp_path / "smoke" / "student" / "gad"
    assert paths.metrics_file("smoke", "control") == tmp_path / "smoke" / "metrics" / "control.json"
