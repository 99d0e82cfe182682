"""The benchmark of how work grows: what it computes rather than times."""

import sys
from argparse import Namespace

import pytest
from scripts import ROOT, load_script

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def scaling(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])  # as for a script in that folder
    return load_script("benchmarks/scaling.py")


def test_a_lines_seconds_are_shared_among_what_was_made(scaling):
    line = scaling.row({"seconds": 6.0, "peak": 2.5e9}, 4, batch=4)
    assert line == {"batch": 4, "seconds": "6.000", "seconds each": "1.5000", "peak GB": "2.50"}


def test_each_table_changes_one_thing_and_keeps_the_other_options(scaling, monkeypatch):
    asked = []
    monkeypatch.setattr(
        scaling, "alone", lambda recipe, part, options: asked.append((part, options)) or {"seconds": 1.0, "peak": 1e9}
    )
    given = Namespace(batches=[2, 4], directions=[1, 3], batch=8, depth=1, size=16)
    scaling.by_batch("pixart_tdm", given)
    scaling.by_directions("pixart_tdm", given)
    assert [(part, options.batch, options.directions) for part, options in asked] == [
        ("gad", 2, None), ("gad", 4, None), ("sensitivity", 8, 1), ("sensitivity", 8, 3)
    ]  # fmt: skip
    assert {(options.depth, options.size) for _, options in asked} == {(1, 16)}
