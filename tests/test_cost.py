"""The benchmark of what GAD costs: what it computes rather than times."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[1] / "benchmarks" / "cost.py"
_spec = importlib.util.spec_from_file_location("cost", PATH)
cost = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cost)


def test_sparse_gad_costs_its_share_of_what_gad_adds_and_its_whole_memory():
    measured = {
        "baseline": {"variant": "baseline", "seconds": 2.0, "memory": 100.0},
        "gad": {"variant": "gad", "seconds": 3.0, "memory": 130.0},
    }
    row = cost.sparse_row("gad_sparse", measured)
    assert row == {"variant": "gad_sparse", "seconds": pytest.approx(2.2), "memory": 130.0}
    table = cost.compare([*measured.values(), row])
    assert table.loc["gad_sparse", "time added"] == "+10.0%" and table.loc["gad", "time added"] == "+50.0%"


def test_sparse_gad_without_what_it_is_computed_from_is_refused_in_one_line():
    command = [sys.executable, PATH, "smoke", "--variants", "baseline", "gad_sparse"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("gad_sparse is computed from the baseline and gad: name gad too")
