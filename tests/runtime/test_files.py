import os

import pytest
import torch

from gad.runtime import files as artifacts
from gad.runtime.files import read_json, read_tensors, replacing, write_json, write_tensors
from gad.runtime.fingerprint import fingerprint, lock_folder


def test_an_error_leaves_the_old_file_and_nothing_half_written(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]


def test_an_error_leaves_the_old_folder_and_nothing_half_written(tmp_path):
    write_tensors(tmp_path / "folder" / "old", {"x": torch.ones(1)})
    with pytest.raises(RuntimeError), replacing(tmp_path / "folder") as partial:
        partial.mkdir()
        (partial / "new").write_text("half")
        raise RuntimeError
    assert os.listdir(tmp_path) == ["folder"] and os.listdir(tmp_path / "folder") == ["old"]


def test_a_folder_is_replaced_whole(tmp_path):
    for name in ("old", "new"):
        with replacing(tmp_path / "folder") as partial:
            partial.mkdir()
            (partial / name).write_text(name)
    assert os.listdir(tmp_path) == ["folder"] and os.listdir(tmp_path / "folder") == ["new"]


def test_what_a_killed_writer_left_does_not_matter(tmp_path):
    (tmp_path / ".file.partial").mkdir()
    (tmp_path / ".file.partial" / "rest").write_text("half")
    with replacing(tmp_path / "file") as partial:
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


def test_fingerprint_changes_with_a_files_content_name_and_number(tmp_path):
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    prints = [fingerprint(folder)]
    for name, content in [("deep/a", "1"), ("deep/a", "2"), ("b", "2")]:
        (folder / name).write_text(content)
        prints.append(fingerprint(folder))
    (folder / "b").rename(folder / "c")
    prints.append(fingerprint(folder))
    assert len(set(prints)) == len(prints)
    assert fingerprint(folder) == prints[-1]


def test_compiled_code_is_not_part_of_a_fingerprint(tmp_path):
    (tmp_path / "module.py").write_text("x = 1")
    before = fingerprint(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "module.cpython-311.pyc").write_bytes(b"compiled")
    assert fingerprint(tmp_path) == before


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ('"""Said better."""\nx = 1\n\n\ndef f(a):\n    """Words."""\n    return a + x\n', True),
        ("x = 1  # one\ndef f(a): return (a + x)", True),
        ("x = 2\n\n\ndef f(a):\n    return a + x\n", False),
        ('x = 1\n\n\ndef f(a):\n    return a + x + len("""Words.""")\n', False),
    ],
)
def test_code_has_another_hash_where_it_does_something_else_and_not_where_words_change(
    text, same, tmp_path, monkeypatch
):
    monkeypatch.setattr(artifacts, "ROOT", tmp_path)
    (tmp_path / "src" / "room").mkdir(parents=True)
    (tmp_path / "dvc.yaml").write_text("stages: {student: {do: {deps: [src/room, data/input]}}}")
    hashes = []
    for content in ('"""A module."""\nx = 1\n\n\ndef f(a):\n    return a + x\n', text):
        (tmp_path / "src" / "room" / "module.py").write_text(content)
        artifacts.code_hash.cache_clear()
        hashes.append(artifacts.code_hash("student"))
    artifacts.code_hash.cache_clear()
    assert (hashes[0] == hashes[1]) == same


def test_fingerprint_of_values_depends_on_each_of_them_but_not_on_key_order():
    assert fingerprint({"a": 1, "b": 2}, "x") == fingerprint({"b": 2, "a": 1}, "x")
    assert len({fingerprint({"a": 1}, "x"), fingerprint({"a": 2}, "x"), fingerprint({"a": 1}, "y")}) == 3


def test_a_folder_has_the_same_fingerprint_wherever_it_lies(tmp_path):
    for place in ("here", "there"):
        (tmp_path / place / "folder").mkdir(parents=True)
        (tmp_path / place / "folder" / "file").write_text("x")
    assert fingerprint(tmp_path / "here" / "folder") == fingerprint(tmp_path / "there" / "folder")


def test_stage_folders_lie_below_the_recipe(monkeypatch, tmp_path):
    monkeypatch.setattr(artifacts, "DATA", tmp_path)
    assert artifacts.stage_dir("smoke", "student", "gad") == tmp_path / "smoke" / "student" / "gad"
    assert artifacts.metrics_file("smoke", "control") == tmp_path / "smoke" / "metrics" / "control.json"
