import os

import pytest
import torch

from gad.runtime import paths
from gad.runtime.atomic import atomic_write_path, remove_folder
from gad.runtime.files import read_json, read_tensors, write_json, write_tensors
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


def linked(tmp_path, *files: str):
    """A link to a folder on another disk, as far as a test can have one, that holds those files."""
    (tmp_path / "scratch" / "disk").mkdir(parents=True)
    for name in files:
        (tmp_path / "scratch" / "disk" / name).write_text(name)
    (tmp_path / "folder").symlink_to(tmp_path / "scratch" / "disk")
    return tmp_path / "folder"


def test_a_linked_folder_is_replaced_where_it_lies_and_the_link_stays(tmp_path):
    folder = linked(tmp_path, "old")
    with atomic_write_path(folder) as partial:
        assert partial.parent == tmp_path / "scratch"  # a rename between two disks is none
        partial.mkdir()
        (partial / "new").write_text("new")
    assert folder.is_symlink() and os.listdir(folder) == ["new"] and os.listdir(tmp_path / "scratch") == ["disk"]


def test_a_linked_file_is_not_written_through(tmp_path):
    """DVC links files to its cache, which others share."""
    (tmp_path / "cache").write_text("old")
    (tmp_path / "file").symlink_to(tmp_path / "cache")
    with atomic_write_path(tmp_path / "file") as partial:
        partial.write_text("new")
    assert (tmp_path / "cache").read_text() == "old" and (tmp_path / "file").read_text() == "new"


def test_other_work_in_a_linked_folder_is_thrown_away_and_the_link_stays(tmp_path):
    folder = linked(tmp_path, "shard")
    lock_folder(folder, "me")
    assert folder.is_symlink() and os.listdir(folder) == ["fingerprint.txt"]


def test_a_link_to_a_disk_that_was_purged_gets_its_folder_again(tmp_path):
    folder = linked(tmp_path)
    (tmp_path / "scratch" / "disk").rmdir()
    (tmp_path / "scratch").rmdir()
    lock_folder(folder, "me")
    assert folder.is_symlink() and os.listdir(tmp_path / "scratch" / "disk") == ["fingerprint.txt"]


def test_removing_a_linked_folder_frees_its_disk(tmp_path):
    folder = linked(tmp_path, "large")
    remove_folder(folder, keep_link=True)
    assert folder.is_symlink() and os.listdir(folder) == []
    remove_folder(folder)
    assert not folder.is_symlink() and not folder.exists()
    remove_folder(folder)


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
