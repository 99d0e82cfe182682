"""The benchmark of what GAD costs: what it computes rather than times, and that trainings take turns."""

import subprocess
import sys
import time

import pytest
from scripts import ROOT, load_script

from gad.preflight.timing import Turns, time_by_turns

cost = load_script("benchmarks/cost.py")


def test_sparse_gad_costs_its_share_of_what_gad_adds_and_its_whole_memory():
    names = ["baseline", "gad", "gad_fifth", "gad_thin_half"]
    laps = cost.with_sparse({"baseline": [2.0, 4.0], "gad": [3.0, 6.0], "gad_thin": [2.4, 4.8]}, names)
    assert laps["gad_fifth"] == pytest.approx([2.2, 4.4]) and laps["gad_thin_half"] == pytest.approx([2.2, 4.4])
    table = cost.compare(laps, {"baseline": 100.0, "gad": 130.0, "gad_fifth": 130.0, "gad_thin_half": 105.0})
    assert table["time added"].tolist() == ["+0.0%", "+50.0%", "+10.0%", "+10.0%"]
    assert table["memory added"].tolist() == ["+0.0%", "+30.0%", "+30.0%", "+5.0%"]


def test_a_slow_spell_that_all_variants_meet_changes_no_ratio():
    table = cost.compare({"baseline": [1.0, 1.0, 9.0], "gad": [1.1, 1.1, 9.9]}, {"baseline": 1.0, "gad": 1.0})
    assert table.loc["gad", ["time added", "quartiles"]].tolist() == ["+10.0%", "+10.0% .. +10.0%"]


def test_sparse_gad_without_what_it_is_computed_from_is_refused_in_one_line():
    command = [sys.executable, ROOT / "benchmarks" / "cost.py", "smoke", "--variants", "baseline", "gad_thin_half"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    told = "gad_thin_half is computed from the baseline and gad_thin: name gad_thin too"
    assert done.stderr.splitlines()[-1].endswith(told)


def test_works_take_turns_and_one_that_ends_early_leaves_the_others_theirs():
    seen = []

    def work(count: int, turns: Turns, mine: int) -> list[float]:
        for step in range(count):
            seen.append((mine, step))
            time.sleep(0.001)  # another thread that did not wait would come in here
            seen.append((mine, step))
            turns.wait(mine)
        return [float(mine)]

    counts = (3, 1, 2)
    found = time_by_turns([lambda turns, mine, count=count: work(count, turns, mine) for count in counts])
    assert found == [[0.0], [1.0], [2.0]]
    assert seen[::2] == seen[1::2] == [(0, 0), (1, 0), (2, 0), (0, 1), (2, 1), (0, 2)]


def test_a_work_that_fails_is_heard_of_and_nobody_waits_for_it():
    done = []

    def fails(turns: Turns, mine: int) -> list[float]:
        raise ValueError("no pairs")

    def ends(turns: Turns, mine: int) -> list[float]:
        turns.wait(mine)
        done.append(mine)
        return []

    with pytest.raises(ValueError, match="no pairs"):
        time_by_turns([ends, fails])
    assert done == [0]
