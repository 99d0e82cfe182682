"""Items worked on by processes of their own: what comes back, and that none outlives its parent."""

import os
import signal
import subprocess
import sys
import threading

import psutil
import pytest
from counting import Count, divide

from gad.runtime.side_by_side import side_by_side


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    return [child for child in process.children() if any("side_by_side" in word for word in child.cmdline())]


def test_values_of_an_item_come_in_order_and_a_process_takes_the_next_item(tmp_path):
    found = {item: [] for item in "abc"}
    for item, number in side_by_side(Count(tmp_path, 5), "abc", 2, job=tmp_path / "job.pt"):
        found[item].append(number)
        assert len(workers_of(psutil.Process())) <= 2
    assert found == {item: [0, 1, 2, 3, 4] for item in "abc"}
    assert workers_of(psutil.Process()) == [] and not (tmp_path / "job.pt").exists()


def test_an_error_is_raised_here_as_it_was_raised_there(tmp_path):
    with pytest.raises(ZeroDivisionError, match="^division by zero$"):
        list(side_by_side(divide, [0], 1, job=tmp_path / "job.pt"))
    with pytest.raises(RuntimeError, match="^Unknown: no process knows it$"):
        list(side_by_side(divide, [-1], 1, job=tmp_path / "job.pt"))
    assert workers_of(psutil.Process()) == []


def test_a_killed_process_is_told_in_one_line_and_the_other_one_stops(tmp_path):
    run = side_by_side(Count(tmp_path, 1000), "ab", 2, job=tmp_path / "job.pt", name="letter")
    assert {next(run)[0] for _ in range(200)} == {"a", "b"}
    workers_of(psutil.Process())[0].kill()
    line = "^the process of letter a was killed by SIGKILL; start again to go on from its last checkpoint$"
    with pytest.raises(ChildProcessError, match=line):
        list(run)
    assert workers_of(psutil.Process()) == []


PARENT = """
import sys
from pathlib import Path
from counting import Count
from gad.runtime.side_by_side import side_by_side
folder = Path(sys.argv[1])
for item, number in side_by_side(Count(folder, 100_000), "a", 1, job=folder / "job.pt"):
    print(item, number, flush=True)
"""


def test_no_process_outlives_a_parent_that_was_killed(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        late = threading.Timer(120, parent.kill)  # a process that hangs fails the test
        late.start()
        assert parent.stdout.readline() == "a 0\n"
        children = workers_of(psutil.Process(parent.pid))
        os.kill(parent.pid, signal.SIGKILL)
    late.cancel()
    assert len(children) == 1
    assert psutil.wait_procs(children, timeout=10)[1] == []
    assert int((tmp_path / "a").read_text()) < 10_000
