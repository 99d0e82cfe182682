"""What counts as the same numbers when code changes."""

import pytest
from scripts import load_script

prove = load_script("pipelines/prove.py")


@pytest.fixture
def trees(tmp_path):
    """Two copies of a recipe's outputs."""
    for tree in ("base", "now"):
        for name, content in {"student/gad/weights": b"1", "student/gad/fingerprint.txt": tree.encode()}.items():
            path = tmp_path / tree / "data" / "smoke" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return tmp_path / "base", tmp_path / "now"


def test_the_mark_of_the_code_is_no_difference(trees):
    assert prove.differing(*trees, "smoke") == []


def test_one_other_byte_and_a_missing_file_are_differences(trees):
    (trees[1] / "data" / "smoke" / "student" / "gad" / "weights").write_bytes(b"2")
    (trees[0] / "data" / "smoke" / "more.csv").write_text("a")
    assert prove.differing(*trees, "smoke") == ["more.csv", "student/gad/weights"]


def test_the_working_tree_is_copied_with_what_is_not_committed_and_without_what_is_ignored(tmp_path):
    copy = prove.copy_of(None, tmp_path / "now")
    assert (copy / "dvc.yaml").read_bytes() == (prove.ROOT / "dvc.yaml").read_bytes()
    assert not (copy / ".venv").exists() and not (copy / "reports").exists()
    assert (prove.copy_of("HEAD", tmp_path / "base") / "pipelines" / "run_stage.py").exists()
