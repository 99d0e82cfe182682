"""Proves that a change of code leaves every number as it was, then commits DVC's locks: nothing is trained again.

    python pipelines/prove.py [--base REVISION] [--recipes smoke swiss_roll] [--commit]

The recipes run whole in two copies of the project, one of the base revision (HEAD unless named) and one of the tree as
it stands, in folders of their own. Every output has to be equal byte for byte. Only then, and with --commit, the hashes
of code in dvc.lock and the cache keys beside noise pairs and students are those of the present code. 12 minutes on two
cores; `swiss_roll` takes most of them.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # of this tree, whichever is installed

from gad.config import load_recipe
from gad.runtime.cli import exit_with_status
from gad.runtime.paths import ROOT

STAGES = ("teacher", "noise_pairs", "student", "sensitivity", "fidelity", "control")
NO_RESULT = {"fingerprint.txt", "live"}  # which code has made a folder, and what is shown while it is made


def copy_of(revision: str | None, folder: Path) -> Path:
    """The files of a revision, or those of the working tree that git does not ignore, in ``folder``."""
    if revision is not None:
        archive = subprocess.run(["git", "archive", revision], cwd=ROOT, check=True, capture_output=True).stdout
        folder.mkdir()
        subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
        return folder
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():  # one that is deleted is listed until it is committed
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def run_recipe(tree: Path, recipe: str, variants: list[str]) -> None:
    """Run a recipe's stages up to its report in ``tree``. Raises ValueError naming the stage that fails."""
    present = {path.stem.partition("_")[2] for path in (tree / "notebooks").glob("[0-9]*_*.ipynb")}
    for stage in (stage for stage in STAGES if stage in present):
        if stage == "teacher" and any((tree / "data" / recipe / "teacher").glob("*")):
            continue  # it lies in git
        for variant in variants if stage == "student" else [None]:
            words = [stage, "--recipe", recipe, *(["--variant", variant] if variant else [])]
            command = [sys.executable, str(tree / "pipelines" / "run_stage.py"), *words]
            environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            done = subprocess.run(
                command, cwd=tree, env=environment | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
            )
            if done.returncode:
                raise ValueError(f"{tree.name}: {' '.join(words)} failed: {done.stderr.strip()[-300:]}")
            print(f"{tree.name}: {' '.join(words)}", flush=True)


def outputs_of(tree: Path, recipe: str) -> dict[str, str]:
    """A hash of every output of a recipe, by its path."""
    folder = tree / "data" / recipe
    files = (path for path in folder.rglob("*") if path.is_file() and not NO_RESULT & set(path.parts))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def differing(base: Path, now: Path, recipe: str) -> list[str]:
    """Outputs that are not the same in both trees, or in one of them only."""
    before, after = outputs_of(base, recipe), outputs_of(now, recipe)
    return [name for name in sorted(before | after) if before.get(name) != after.get(name)]


def commit_locks() -> None:
    """Give caches and dvc.lock the hashes of the present code."""
    from gad.distillation.cache_keys import renew_cache_keys  # here, since it takes seconds

    for line in renew_cache_keys():
        print(line)
    from dvc.repo import Repo
    from dvc.stage.serialize import to_lockfile
    from dvc.utils.serialize import dump_yaml

    repo, stages = Repo(str(ROOT)), {}
    with repo.lock:  # as dvc commit does, but data that is not on this machine keeps its hash, and one write is enough
        for stage in repo.index.stages:
            for entry in [*stage.deps, *stage.outs]:
                if entry.exists:
                    entry.save()
            stage.md5 = stage.compute_md5()
            stages |= to_lockfile(stage)
        dump_yaml(str(ROOT / "dvc.lock"), {"schema": "2.0", "stages": stages})
    print(f"dvc.lock: {len(stages)} stages")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="HEAD", help="revision whose numbers have to come out (HEAD)")
    parser.add_argument("--recipes", nargs="+", default=["smoke", "swiss_roll"])
    parser.add_argument("--commit", action="store_true", help="commit the locks where nothing differs")
    arguments = parser.parse_args()
    variants = {recipe: load_recipe(recipe).variants for recipe in arguments.recipes}
    with TemporaryDirectory(prefix="gad-prove-") as folder:
        trees = copy_of(arguments.base, Path(folder) / "base"), copy_of(None, Path(folder) / "now")
        with ThreadPoolExecutor(2) as pool:  # both at once: a machine that changes its kernels changes both
            for recipe in arguments.recipes:
                list(pool.map(lambda tree, name=recipe: run_recipe(tree, name, variants[name]), trees))
        found = {recipe: differing(*trees, recipe) for recipe in arguments.recipes}
        counts = {recipe: len(outputs_of(trees[1], recipe)) for recipe in arguments.recipes}
    for recipe, names in found.items():
        print(f"{recipe}: {counts[recipe] - len(names)} of {counts[recipe]} outputs equal byte for byte", *names[:20])
    if any(found.values()):
        return 1
    if arguments.commit:
        commit_locks()
    return 0


if __name__ == "__main__":
    exit_with_status(main)
