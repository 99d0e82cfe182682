"""Tasks share no sample id, with each other or with the noise pairs."""

import itertools
import re

import pytest

from gad.config import sample_ids
from gad.config.sample_ids import WIDTH, task_sample_ids
from gad.runtime.paths import ROOT

STARTS = {name: value for name, value in vars(sample_ids).items() if name.isupper() and name != "WIDTH"}


def test_no_two_tasks_share_a_sample_id():
    ranges = {name: task_sample_ids(start, WIDTH) for name, start in STARTS.items()} | {"noise pairs": range(WIDTH)}
    assert len(ranges) >= 11
    for (one, ours), (other, theirs) in itertools.combinations(ranges.items(), 2):
        assert not range(max(ours.start, theirs.start), min(ours.stop, theirs.stop)), f"{one} and {other}"


def test_ids_are_given_out_in_one_place():
    files = [path for path in (ROOT / "src" / "gad").rglob("*.py") if path.name != "sample_ids.py"]
    assert len(files) > 50
    assert [path.name for path in files if re.search(r"\b_?[A-Z_]*ID = \d{1,3}_\d{3}", path.read_text())] == []


def test_a_task_cannot_take_the_next_ones_ids():
    assert task_sample_ids(sample_ids.SEEDS, 3) == range(7_000_000, 7_000_003)
    with pytest.raises(ValueError, match="1000001 samples are asked for; a task has 1000000"):
        task_sample_ids(sample_ids.LIBRARY, WIDTH + 1)
