"""Kills every stage at random moments, runs it again, and compares every artefact with an uninterrupted run.

    python benchmarks/kills.py [--recipe smoke emoji] [--kills 100] [--seed 0] [--out results/kills.json] [--add]

Works in a copy of the tree. A stage is started, killed at a moment drawn uniformly over its time, looked at for broken
files under final names, and started again until it ends. `emoji` is emoji_quick made so small that a stage takes
seconds. Stage `dataset` is left out: it takes hours. The kinds: the whole machine (SIGKILL of every process of the
stage at once), its runner or its kernel alone (SIGKILL), SIGTERM of the runner, and Ctrl-C. 40 minutes on one core.
"""

import argparse
import random
import shutil
import signal
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
for room in ("src", "pipelines", "benchmarks"):  # of this tree, whichever is installed
    sys.path.insert(0, str(ROOT / room))

from artefacts import EXCEPTIONS, contents, copied_state, differing, not_whole
from prove import copy_of
from ruamel.yaml import YAML
from stage_process import KINDS, StageProcess

from gad.runtime.cli import exit_with_status, positive_argument
from gad.runtime.files import read_json, write_json

STAGES = ["teacher", "noise_pairs", "student --variant baseline", "student --variant gad"]
STAGES += ["sensitivity", "fidelity", "control", "report"]
FAULTS = ("differing", "not_whole", "outlived")
BRIEFLY = ("seed", "recipe", "stage", "kind", "moment", "work_lost")  # what is kept of a kill without a fault
SMALL_EMOJI = {  # what is changed of emoji_quick
    "noise_pairs": {"num_pairs": 16, "teacher_steps": 4, "batch_size": 8, "shard_size": 8},
    "student": {"num_steps": 6, "batch_size": 4, "warmup_steps": 1, "checkpoint_every": 2, "log_every": 2},
    "sensitivity": {"num_noises": 2, "num_directions": 1, "batch_size": 2, "directions": ["low_frequency"]},
    "sensitivity.seeds": {"num_seeds": 2, "train_prompts": 2, "val_prompts": 2, "test_prompts": 2},
    "sensitivity.fidelity": {"num_images": 16, "axes": 2},
    "sensitivity.negative_prompts": {"num_samples": 1},
    "sensitivity.inversion": {"num_samples": 1, "descent_steps": 2},
    "control.diversity": {"num_prompts": 1, "seeds_per_prompt": 2},
    "control.noise_query": {"library_size": 8, "num_queries": 2, "attribute_entries": 6},
    "control.noise_optimisation": {"num_prompts": 1, "iterations": 2},
    "control.layout": {"num_prompts": 1, "attention_trajectory_steps": 1, "attention_steps": 1},
}


def small_emoji_recipe(tree: Path) -> str:
    """Write the small recipe into the tree's recipes; returns its name."""
    yaml, recipes = YAML(), tree / "pipelines" / "recipes"
    recipe = yaml.load(recipes / "emoji_quick.yaml")
    for path, changes in SMALL_EMOJI.items():
        section = recipe
        for name in path.split("."):
            section = section[name]
        section.update(changes)
    recipe["variants"] = ["baseline", "gad"]
    yaml.dump(recipe, recipes / "emoji_small.yaml")
    return "emoji_small"


class Trials:
    """The stages of a recipe in a tree: an uninterrupted run, and one that is killed."""

    def __init__(self, tree: Path, recipe: str, store: Path):
        self.tree, self.recipe, self.store = tree, recipe, store
        self.seconds: dict[str, float] = {}
        self.reference: dict[str, dict[str, str]] = {}

    def run_reference(self) -> None:
        """Run every stage to its end; what was there before each one is stored, and a hash of all that is after it."""
        for stage in STAGES:
            copied_state(self.tree, self.recipe, self.store / stage)
            run = StageProcess(self.tree, stage, self.recipe)
            if run.wait():
                raise ValueError(f"{self.recipe}: {stage} fails by itself: {run.told()}")
            self.seconds[stage], self.reference[stage] = run.seconds, contents(self.tree, self.recipe)
            print(f"{self.recipe}: {stage}: {run.seconds:.1f} s, {len(self.reference[stage])} artefacts", flush=True)

    def kill(self, stage: str, kind: str, draw: random.Random) -> dict:
        """Kill a stage once and run it to its end. Returns what was found, with the seconds of work that were lost."""
        moment, signal_kind = draw.random(), KINDS[kind]
        while True:  # one that has ended before its moment was not killed
            copied_state(self.store / stage, self.recipe, self.tree)
            killed = StageProcess(self.tree, stage, self.recipe)
            if killed.kill_at(moment * self.seconds[stage], signal_kind):
                break
            self.seconds[stage] = killed.seconds  # the machine is less busy than it was
        left = not_whole(self.tree, self.recipe, self.reference[stage])
        second = StageProcess(self.tree, stage, self.recipe)
        lost = second.wait()
        other = differing(self.reference[stage], contents(self.tree, self.recipe))
        found = {"recipe": self.recipe, "stage": stage, "kind": kind, "moment": killed.seconds, "lost": bool(lost)}
        found |= {"not_whole": left, "differing": other, "outlived": killed.outlived, "told": killed.told()}
        found |= {"again": second.told() if lost else ""}
        return found | {"work_lost": killed.seconds + second.seconds - self.seconds[stage]}

    def keep(self, stage: str, names: list[str], place: Path) -> None:
        """Copies of artefacts as they are now, and as the uninterrupted run left them."""
        later = [self.store / after for after in STAGES[STAGES.index(stage) + 1 :]][:1]
        for label, root in [("now", self.tree), *[("reference", root) for root in later]]:
            for name in (name for name in names if (root / name).exists()):
                (place / label / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(root / name, place / label / name)


def summary_of(found: list[dict]) -> dict:
    """Counts by recipe and stage, and over all; what went wrong, in full."""
    stages = defaultdict(list)
    for kill in found:
        stages[f"{kill['recipe']}: {kill['stage']}"].append(kill)
        stages["all"].append(kill)
    rows = {}
    for stage, kills in stages.items():
        rows[stage] = {"kills": len(kills), "median_work_lost_s": statistics.median(k["work_lost"] for k in kills)}
        rows[stage] |= {"lost_runs": sum(kill["lost"] for kill in kills)}
        rows[stage] |= {name: sum(len(kill[name]) for kill in kills) for name in FAULTS}
        rows[stage] |= {"kinds": {kind: sum(kill["kind"] == kind for kill in kills) for kind in KINDS}}
    bad = [kill for kill in found if kill["lost"] or kill["differing"] or kill["not_whole"] or kill["outlived"]]
    rest = [{name: kill[name] for name in BRIEFLY} for kill in found if kill not in bad]
    return {"seeds": sorted({kill["seed"] for kill in found}), "stages": rows, "faults": bad, "whole": rest}


def earlier_kills(path: Path) -> list[dict]:
    """The kills that a file of results holds; those without a fault are told by what is kept of them."""
    written = read_json(path)
    return written["faults"] + [dict.fromkeys(FAULTS, []) | {"lost": False} | kill for kill in written["whole"]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", nargs="+", default=["smoke", "emoji"], help="smoke and emoji unless named")
    parser.add_argument("--kills", type=positive_argument, default=100, help="over all recipes and stages (100)")
    parser.add_argument("--seed", type=int, default=0, help="of stages, kinds and moments (0)")
    parser.add_argument("--keep", type=Path, help="a folder for copies of what differs: the reference's and the other")
    parser.add_argument("--add", action="store_true", help="to the kills that --out holds, under another --seed")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "kills.json")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background hands on that it is ignored
    draw, found = random.Random(arguments.seed), earlier_kills(arguments.out) if arguments.add else []
    with TemporaryDirectory(prefix="gad-kills-") as folder:
        tree = copy_of(None, Path(folder) / "tree")
        shutil.rmtree(tree / "data" / "smoke", ignore_errors=True)
        names = [small_emoji_recipe(tree) if name == "emoji" else name for name in arguments.recipe]
        trials = [Trials(tree, name, Path(folder) / name) for name in names]
        for trial in trials:
            trial.run_reference()
        cases = [(trial, stage) for trial in trials for stage in STAGES]
        order = draw.sample(cases, len(cases))
        for number in range(arguments.kills):
            (trial, stage), kind = order[number % len(order)], draw.choice(list(KINDS))
            kill = trial.kill(stage, kind, draw)
            if arguments.keep and kill["differing"]:
                trial.keep(stage, kill["differing"], arguments.keep / str(number + 1))
            found.append({"seed": arguments.seed} | kill)
            print(
                f"{number + 1}: {trial.recipe} {stage}, {kind} at {kill['moment']:.1f} s: " + line_of(kill), flush=True
            )
            write_json(arguments.out, {"not_compared": EXCEPTIONS} | summary_of(found), digits=3)
    return int(any(kill["lost"] or kill["differing"] or kill["not_whole"] for kill in found))


def line_of(kill: dict) -> str:
    """What a kill did, in a line."""
    faults = [f"{name} {kill[name]}" for name in FAULTS if kill[name]]
    faults += [f"LOST: {kill['again']}"] if kill["lost"] else []
    return "; ".join(faults) or f"whole, {kill['work_lost']:.1f} s lost; told: {kill['told']!r}"


if __name__ == "__main__":
    exit_with_status(main)
