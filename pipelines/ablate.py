"""Queues the ablations of pipelines/ablations.yaml as DVC experiments, runs them and writes their tables.

    python pipelines/ablate.py [NAME ...] [--jobs N] [--table]

Run it again after an interruption: what DVC has recorded is kept, and what a killed worker left undone is queued anew.
Experiments belong to the commit they start from; results/ablations/<name>.csv is what outlives it. --table only writes
the tables of what is recorded.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from gad.ablations import Ablation, experiment_name, load_ablations, overrides, table
from gad.artifacts import RESULTS, replacing
from gad.config import RecipeError

ROOT = Path(__file__).resolve().parents[1]
POLL = 10  # seconds


def dvc(*arguments: str, check: bool = True) -> str:
    """Output of a DVC command; its last error line ends this program."""
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=ROOT, capture_output=True, text=True)
    if check and done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["dvc failed"]
        sys.exit(f"error: dvc {' '.join(arguments[:3])}: {lines[-1]}")
    return done.stdout


def recorded() -> dict[str, str]:
    """Revision of each finished experiment of this commit, by name."""
    lines = dvc("exp", "list", "--name-only").split()
    refs = subprocess.run(
        ["git", "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\n")  # fmt: skip
    revisions = {ref.rpartition("/")[2]: sha for sha, _, ref in (line.partition(" ") for line in refs if line)}
    return {name: revisions[name] for name in lines if name in revisions}


def queue_states() -> dict[str, str]:
    """Queued, Running, Success or Failed for each task that the queue still knows, by name."""
    rows = [line.split() for line in dvc("queue", "status").splitlines()[1:]]
    return {row[1]: row[-1] for row in rows if len(row) >= 4 and row[0] != "Worker"}


def drop_dead_tasks(names: set[str]) -> None:
    """Take failed tasks, and those whose process is gone, out of the queue, so that they can be queued again."""
    for name, state in queue_states().items():
        if name in names and state == "Running":
            dvc("queue", "kill", "--force", name, check=False)  # a living process ends; a dead one is noticed
        if name in names and state != "Queued":
            dvc("queue", "remove", name, check=False)


def run(experiments: dict[str, list[str]], targets: list[str], jobs: int) -> None:
    """Queue what is neither recorded nor queued, and wait until the queue is empty."""
    drop_dead_tasks(set(experiments))
    known = set(recorded()) | set(queue_states())
    missing = [name for name in experiments if name not in known]
    for name in missing:
        changes = [part for change in experiments[name] for part in ("-S", change)]
        dvc("exp", "run", "--queue", "--name", name, *changes, *targets)
    waiting = set(experiments) - set(recorded())
    if not waiting:
        return
    dvc("queue", "start", "--jobs", str(jobs))
    while True:
        states = {name: state for name, state in queue_states().items() if name in experiments}
        left = [name for name, state in states.items() if state in ("Queued", "Running")]
        print(f"\r{len(experiments) - len(left)} of {len(experiments)} experiments done", end="", flush=True)
        if not left:
            print()
            return
        time.sleep(POLL)


def write_table(name: str, ablation: Ablation) -> Path | None:
    """results/ablations/<name>.csv from what DVC recorded; None where nothing is recorded."""
    revisions = recorded()
    metrics = []
    for setting in ablation.settings:
        revision = revisions.get(experiment_name(name, ablation, setting))
        path = f"{revision}:data/{ablation.recipe}/metrics/sensitivity.json"
        shown = revision and subprocess.run(["git", "show", path], cwd=ROOT, capture_output=True, text=True)
        metrics.append(json.loads(shown.stdout) if shown and not shown.returncode else None)
    if not any(metrics):
        return None
    path = RESULTS / "ablations" / f"{name}.csv"
    with replacing(path) as partial:
        table(ablation, metrics).to_csv(partial, index=False, float_format="%.6g")
    missing = sum(found is None for found in metrics)
    print(f"{path.relative_to(ROOT)}: {len(metrics) - missing} of {len(metrics)} settings")
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--jobs", type=int, default=1, help="experiments at once")
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    try:
        ablations = load_ablations(ROOT / "pipelines" / "ablations.yaml")
    except RecipeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    unknown = sorted(set(arguments.names) - set(ablations))
    if unknown:
        print(f"error: unknown ablation {unknown[0]!r}; there are: {', '.join(ablations)}", file=sys.stderr)
        return 1
    for name in arguments.names or ablations:
        ablation = ablations[name]
        if not arguments.table:
            named = {experiment_name(name, ablation, s): overrides(ablation, s) for s in ablation.settings}
            run(named, [f"sensitivity@{ablation.recipe}"], arguments.jobs)
        if write_table(name, ablation) is None:
            print(f"{name}: nothing is recorded for this commit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
