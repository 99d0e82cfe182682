"""``dvc repro`` with its exit status, for the main job's reports (or --all recipes, or the targets given).

Before: clears a lock that a killed run left behind. After: makes the pages that a fresh clone does not have; with
--all the numbers are kept in results/, which git tracks.
"""

import json
import subprocess
import sys
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # of this tree, whichever is installed

from gad.config.stage_graph import write_stage_graph
from gad.config.yaml_file import read_params_yaml
from gad.runtime.cli import dvc_cli_command
from gad.runtime.environment import stage_environment

ROOT = Path(__file__).resolve().parents[1]
RWLOCK = Path(".dvc") / "tmp" / "rwlock"


def lock_holders(lock: dict) -> set[int]:
    """Process ids named in DVC's read-write lock."""
    readers = [info for infos in lock.get("read", {}).values() for info in infos]
    return {info["pid"] for info in [*readers, *lock.get("write", {}).values()]}


def clear_stale_lock(root: Path) -> None:
    """Remove the lock when every process that holds it is dead."""
    path = root / RWLOCK
    try:
        holders = lock_holders(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, json.JSONDecodeError):  # absent, or cut off in the middle: DVC says so itself
        return
    if holders and not any(psutil.pid_exists(pid) for pid in holders):
        path.unlink()
        print(f"cleared the lock of a dead run (process {', '.join(map(str, sorted(holders)))})")


def dvc_repro(arguments: list[str]) -> int:
    return subprocess.call(dvc_cli_command("repro", *arguments), cwd=ROOT, env=stage_environment())


def main(arguments: list[str]) -> int:
    try:
        params = read_params_yaml(ROOT / "params.yaml")
        write_stage_graph()
    except ValueError as error:  # a recipe's fault
        print(f"error: {error}", file=sys.stderr)
        return 1
    recipes = params["recipes"] if "--all" in arguments else params["main"]
    options = [word for word in arguments if word.startswith("-") and word != "--all"]
    targets = [word for word in arguments if not word.startswith("-")] or [f"report@{recipe}" for recipe in recipes]
    # DVC reads its lock anew for every target, a second or two each; the group names all reports at once
    asked = ["report"] if targets == [f"report@{recipe}" for recipe in params["recipes"]] else targets
    clear_stale_lock(ROOT)
    status = dvc_repro([*options, *asked])
    if status:
        return status
    missing = [
        target
        for target in targets
        if target.startswith("report@") and not (ROOT / "reports" / target[7:] / "report.html").exists()
    ]
    status = dvc_repro(["--single-item", "--force", *missing]) if missing else 0
    if "--all" in arguments and not status:
        from gad.report.committed_results import save_committed_results  # here, since it imports pandas

        print("to be committed:", *(save_committed_results(recipe).relative_to(ROOT) for recipe in recipes))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
