"""Queues the ablations of pipelines/ablations.yaml as DVC experiments, runs them and writes their tables.

    python pipelines/ablate.py [NAME ...] [--jobs N] [--quick] [--table]

Run it again after an interruption: what DVC has recorded is kept, and what was left undone is queued anew. A worker
that dies meanwhile is replaced, and its experiment starts again. Experiments belong to the commit they start from, so
do not commit while they run;
results/ablations/<name>.csv is what outlives it, and <name>_retained.csv where the ablation has one. --quick trains for
a shorter time, into <name>_quick.csv; --table only writes the tables of what is recorded.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # of this tree, whichever is installed

from gad.config import RecipeError, load_recipe
from gad.report.ablations import (
    QUICK,
    RETAINED,
    Ablation,
    ablation_experiment_name,
    ablation_overrides,
    ablation_result_table,
    load_ablations,
)
from gad.runtime.cli import dvc_cli_command, positive_argument
from gad.runtime.environment import stage_environment
from gad.runtime.files import write_table
from gad.runtime.paths import RESULTS

if TYPE_CHECKING:
    import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
POLL = 30  # seconds; an answer costs two or three of a core
PATIENCE = 3  # polls without a worker before it is held for dead; a busy one may not answer in time
ATTEMPTS = 3  # workers that may die one after another without an experiment done
STATES = ("Queued", "Running", "Success", "Failed")


def dvc(*arguments: str, check: bool = True) -> str:
    """Output of a DVC command; its last error line ends this program.

    It goes to files: a pipe would stay open, and be waited for, as long as workers live that the command has started.
    """
    with TemporaryFile("w+") as out, TemporaryFile("w+") as errors:
        done = subprocess.run(dvc_cli_command(*arguments), cwd=ROOT, env=stage_environment(), stdout=out, stderr=errors)
        out.seek(0), errors.seek(0)
        if check and done.returncode:
            lines = [line for line in errors if line.strip()] or ["dvc failed"]
            sys.exit(f"error: dvc {' '.join(arguments[:3])}: {lines[-1].strip()}")
        return out.read()


def git(*arguments: str) -> str | None:
    """Output of a git command, or None where it fails."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return None if done.returncode else done.stdout.strip()


def read_recorded(listing: str) -> dict[str, str]:
    """Short revision of each finished experiment, by name, from ``dvc exp list``: lines such as "<tab>1a2b3c4 [name]".

    It lists those of one commit alone; one of the same name may belong to an older commit.
    """
    return {name: revision for revision, name in re.findall(r"^\s+([0-9a-f]{7,}) \[(.+)\]$", listing, re.M)}


def read_queue(status: str) -> tuple[dict[str, str], int]:
    """State of each task that the queue still knows, by name, and the number of living workers."""
    rows = [line.split() for line in status.splitlines()]
    states = {row[1]: row[-1] for row in rows if len(row) >= 4 and row[-1] in STATES}
    workers = re.search(r"Worker status: (\d+) active, (\d+) idle", status)
    return states, sum(map(int, workers.groups())) if workers else 0


def recorded(base: str) -> dict[str, str]:
    return read_recorded(dvc("exp", "list", "--rev", base))


def queue() -> tuple[dict[str, str], int]:
    return read_queue(dvc("queue", "status"))


def take_out(names: set[str], *, running: bool) -> None:
    """Take tasks out of the queue, so that they can be queued again; those that are ``running`` only if asked."""
    states, _ = queue()
    for name in sorted(names & set(states)):
        for _ in range(2 if running and states[name] == "Running" else 0):
            # the first time a process ends that outlived its worker, the second time DVC sees that there is none
            dvc("queue", "kill", "--force", name, check=False)
        if running or states[name] != "Running":
            dvc("queue", "remove", name, check=False)


def put_in(experiments: dict[str, list[str]], targets: list[str], jobs: int, base: str) -> set[str]:
    """Queue what is neither recorded nor running, start workers, and return the names that are awaited."""
    waiting = set(experiments) - set(recorded(base))
    if waiting and git("rev-parse", "HEAD") != base:
        sys.exit("error: there is a new commit since the ablations began; start them again")
    states, _ = queue()
    for name in sorted(waiting - {name for name, state in states.items() if state == "Running"}):
        changes = [part for change in experiments[name] for part in ("-S", change)]
        dvc("exp", "run", "--queue", "--name", name, *changes, *targets)
    if waiting:
        dvc("queue", "start", "--jobs", str(jobs))
    return waiting


def run(experiments: dict[str, list[str]], targets: list[str], jobs: int, base: str) -> list[str]:
    """Run what is not recorded until nothing is left; names of the experiments that failed."""
    names = set(experiments)
    _, workers = queue()
    take_out(names, running=not workers)  # also what an older commit left queued
    waiting, absent, died = put_in(experiments, targets, jobs, base), 0, 0
    while waiting:
        states, workers = queue()
        left = [name for name in waiting if states.get(name) in ("Queued", "Running")]
        print(f"\r{len(names) - len(left)} of {len(names)} experiments done", end="", flush=True)
        if not left:
            print()
            break
        absent = 0 if workers else absent + 1
        if absent >= PATIENCE:
            print("\nthe worker is gone; what it left is queued again", flush=True)
            take_out(names, running=True)
            before = len(waiting)
            waiting, absent = put_in(experiments, targets, jobs, base), 0
            died = 0 if len(waiting) < before else died + 1
            if died == ATTEMPTS:
                sys.exit(f"error: {died} workers ended one after another with nothing done; see: dvc queue logs NAME")
        time.sleep(POLL)
    return sorted(names - set(recorded(base)))


def metrics_at(revision: str | None, recipe: str) -> dict[str, dict] | None:
    """The metrics that an experiment recorded, by stage."""
    stages = {}
    for stage in ("sensitivity", "fidelity", "control"):
        shown = revision and git("show", f"{revision}:data/{recipe}/metrics/{stage}.json")
        if not shown:
            return None
        stages[stage] = json.loads(shown)
    return stages


def fetched(path: str, revision: str, folder: Path) -> Path | None:
    """A file as an experiment recorded it, fetched to the folder; None, and a line, where DVC does not have it."""
    file = folder / f"{Path(path).parent.name}.csv"
    dvc("get", ".", path, "--rev", revision, "--out", str(file), check=False)
    if file.exists():
        return file
    print(f"{path} of {revision} is not in DVC's cache; remove the experiment to run it again: dvc exp list")
    return None


def curves_at(revision: str | None, ablation: Ablation) -> "dict[str, pd.DataFrame] | None":
    """The held-out curves that an experiment recorded, by variant."""
    if revision is None:
        return None
    import pandas as pd  # here, since they take seconds

    from gad.distillation.validation_log import CURVES

    found = {}
    with TemporaryDirectory() as folder:
        for variant in ablation.variants:
            file = fetched(f"data/{ablation.recipe}/student/{variant}/{CURVES}", revision, Path(folder))
            if file is None:
                return None
            found[variant] = pd.read_csv(file)
    return found


def table_of(ablation: Ablation, revisions: list[str | None]) -> "tuple[pd.DataFrame, int]":
    """The table of what each setting's revision recorded, and how many settings have recorded something."""
    if ablation.noises == "test":
        metrics = [metrics_at(revision, ablation.recipe) for revision in revisions]
        return ablation_result_table(ablation, metrics), sum(found is not None for found in metrics)
    from gad.report.validation_sweep import validation_sweep_table  # here, since it takes seconds

    curves = [curves_at(revision, ablation) for revision in revisions]
    return validation_sweep_table(ablation, curves), sum(found is not None for found in curves)


def tabulate(name: str, ablation: Ablation, base: str) -> Path | None:
    """results/ablations/<name>.csv from what DVC recorded; None where nothing is recorded."""
    revisions = recorded(base)
    names = [ablation_experiment_name(name, ablation, setting) for setting in ablation.settings]
    table, found = table_of(ablation, [revisions.get(experiment) for experiment in names])
    if not found:
        return None
    path, missing = RESULTS / "ablations" / f"{name}.csv", len(names) - found
    if missing and path.exists():
        print(f"{path.relative_to(ROOT)} stays as it is: {missing} of {len(names)} settings are not recorded yet")
        return path
    write_table(path, table)
    print(f"{path.relative_to(ROOT)}: {found} of {len(names)} settings")
    return path


def targets_of(ablation: Ablation) -> list[str]:
    """The stages that its experiments run."""
    if ablation.noises == "validation":
        return [f"student@{ablation.recipe}-{variant}" for variant in ablation.variants]
    return [f"report@{ablation.recipe}"]  # whose headline numbers `dvc exp show` compares


def write_retained(name: str, ablation: Ablation, base: str) -> None:
    """results/ablations/<name>_retained.csv from each setting's own table by seed, where all settings are recorded."""
    import pandas as pd  # here, since it takes seconds

    from gad.report.retained_gain import retained_gain_table

    revisions, tables = recorded(base), []
    with TemporaryDirectory() as folder:
        for number, setting in enumerate(ablation.settings):
            revision = revisions.get(ablation_experiment_name(name, ablation, setting))
            if revision is None:
                return
            (Path(folder) / str(number)).mkdir()
            file = fetched(f"data/{ablation.recipe}/sensitivity/table.csv", revision, Path(folder) / str(number))
            if file is None:
                return
            tables.append(pd.read_csv(file))
    write_table(RESULTS / "ablations" / f"{name}{RETAINED}.csv", retained_gain_table(ablation, tables))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="of pipelines/ablations.yaml; all by default")
    parser.add_argument("--jobs", type=positive_argument, default=1, help="experiments at once")
    parser.add_argument("--quick", action="store_true", help="shorter training, tables of their own")
    parser.add_argument("--table", action="store_true", help="run nothing")
    arguments = parser.parse_args()
    try:
        ablations = load_ablations()
    except RecipeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    unknown = sorted(set(arguments.names) - set(ablations))
    if unknown:
        print(f"error: unknown ablation {unknown[0]!r}; there are: {', '.join(ablations)}", file=sys.stderr)
        return 1
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!results", ":!dvc.lock", ":!data")
    if changed and not arguments.table:  # an experiment would hold it, but its name would not say so
        first = changed.splitlines()[0].split()[-1]
        print(
            f"error: {first} differs from the last commit; experiments belong to a commit: commit it", file=sys.stderr
        )
        return 1
    failed, base = [], git("rev-parse", "HEAD")
    if base is None:
        print("error: experiments belong to a commit, and this is no git checkout that has one", file=sys.stderr)
        return 1
    for name in arguments.names or ablations:
        ablation = ablations[name].shortened() if arguments.quick else ablations[name]
        name += QUICK if arguments.quick else ""
        if not arguments.table:
            trained = load_recipe(ablation.recipe).variants
            named = {
                ablation_experiment_name(name, ablation, s): ablation_overrides(ablation, s, trained)
                for s in ablation.settings
            }
            failed += run(named, targets_of(ablation), arguments.jobs, base)
        if tabulate(name, ablation, base) is None:
            print(f"{name}: nothing is recorded for this commit")
        elif ablation.retained:
            write_retained(name, ablation, base)
    for experiment in failed:
        print(f"error: {experiment} failed; see: dvc queue logs {experiment}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
