"""Fingerprints of values, files, folders and code."""

import shutil

import pytest

from gad.runtime import fingerprint as fingerprint_module
from gad.runtime.fingerprint import code_hash, fingerprint


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


def test_a_fingerprint_sees_what_lies_behind_links(tmp_path):
    (tmp_path / "disk" / "deep").mkdir(parents=True)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "unet").symlink_to(tmp_path / "disk")
    prints = [fingerprint(tmp_path / "model")]
    for content in ("1", "2"):
        (tmp_path / "disk" / "deep" / "weights").write_text(content)
        prints.append(fingerprint(tmp_path / "model"))
    assert len(set(prints)) == 3
    shutil.copytree(tmp_path / "model", tmp_path / "copy" / "model")  # as files, without the link
    assert fingerprint(tmp_path / "copy" / "model") == prints[-1]


def test_a_link_to_a_folder_around_it_is_one_line(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "latest").symlink_to(tmp_path / "model")
    with pytest.raises(ValueError, match="^the link .*model/latest leads back to a folder around it; remove it$"):
        fingerprint(tmp_path / "model")


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
    monkeypatch.setattr(fingerprint_module, "ROOT", tmp_path)
    (tmp_path / "src" / "room").mkdir(parents=True)
    (tmp_path / "dvc.yaml").write_text("stages: {student: {do: {deps: [src/room, data/input]}}}")
    hashes = []
    for content in ('"""A module."""\nx = 1\n\n\ndef f(a):\n    return a + x\n', text):
        (tmp_path / "src" / "room" / "module.py").write_text(content)
        code_hash.cache_clear()
        hashes.append(code_hash("student"))
    code_hash.cache_clear()
    assert (hashes[0] == hashes[1]) == same


def test_fingerprint_of_values_depends_on_each_of_them_but_not_on_key_order():
    assert fingerprint({"a": 1, "b": 2}, "x") == fingerprint({"b": 2, "a": 1}, "x")
    assert len({fingerprint({"a": 1}, "x"), fingerprint({"a": 2}, "x"), fingerprint({"a": 1}, "y")}) == 3


def test_a_folder_has_the_same_fingerprint_wherever_it_lies(tmp_path):
    for place in ("here", "there"):
        (tmp_path / place / "folder").mkdir(parents=True)
        (tmp_path / place / "folder" / "file").write_text("x")
    assert fingerprint(tmp_path / "here" / "folder") == fingerprint(tmp_path / "there" / "folder")
