"""How long each stage of the smoke recipe takes, which is little more than its start: medians over rounds.

    python benchmarks/start.py [--rounds 5]

A round makes data/smoke anew. Seconds of the clock, and of all processes in Python (user) and the system (sys).
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # of this tree, whichever is installed

from gad.runtime.cli import exit_with_status, positive_argument
from gad.runtime.paths import DATA, ROOT

STAGES = ["teacher", "noise_pairs", "student --variant baseline", "student --variant gad"]
STAGES += ["sensitivity", "control", "report"]


def timed(command: list[str]) -> tuple[float, float, float]:
    """Seconds of wall, user and system time of a command and all its children. Raises ValueError where it fails."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise ValueError(f"{' '.join(command[1:])} failed: {done.stderr[-300:]}")
    return wall, after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=positive_argument, default=5)
    rounds, rows = parser.parse_args().rounds, {stage: [] for stage in STAGES}
    for _ in range(rounds):
        shutil.rmtree(DATA / "smoke", ignore_errors=True)
        for stage in STAGES:
            words = ["pipelines/run_stage.py", *stage.split(), "--recipe", "smoke"]
            rows[stage].append(timed([sys.executable, *words]))
    print(f"{'stage':28} {'wall s':>8} {'user s':>8} {'sys s':>8}")
    for stage, found in rows.items():
        print(f"{stage:28} " + " ".join(f"{statistics.median(column):8.1f}" for column in zip(*found, strict=True)))


if __name__ == "__main__":
    exit_with_status(main)
