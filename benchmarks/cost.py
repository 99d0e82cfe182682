"""What GAD costs (the paper's Table 10): time of a training step and peak memory, beside the same base loss without it.

    python benchmarks/cost.py emoji_flow_sid [--rounds 5] [--steps 10] [--variants baseline gad gad_anchor]

Every measurement is a process of its own; variants take turns, so a machine that slows down slows all of them. The
recipe's noise pairs must be there (dvc repro noise_pairs@<recipe>). Besides GAD at every step the cheap setting is
measured: GAD at a fifth of the steps (`gad_fraction`: 0.2).
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch

from gad.artifacts import stage_dir
from gad.config import load_recipe
from gad.noise_pairs import NoisePairs
from gad.objectives.build import build_objective
from gad.objectives.variants import VARIANTS
from gad.students import encode_pair_prompts, start_student
from gad.teachers.load import load_model
from gad.training import train

SPARSE = 0.2
CHEAP = "_sparse"  # a variant's name with this ending runs at SPARSE of the steps


def measure(recipe: str, name: str, steps: int) -> dict:
    """Median seconds a step, after as many to warm up, and the process's peak memory in MB."""
    settings, variant = load_recipe(recipe), name.removesuffix(CHEAP)
    fraction = SPARSE if name.endswith(CHEAP) else 1.0
    changes = {"num_steps": 2 * steps, "log_every": 2 * steps, "checkpoint_every": 2 * steps, "gad_fraction": fraction}
    config = settings.student.model_copy(update=changes)
    teacher = load_model(stage_dir(recipe, "teacher"))
    pairs = NoisePairs(stage_dir(recipe, "noise_pairs"))
    prompts = encode_pair_prompts(teacher, pairs)
    student = start_student(teacher, config, seed=0)
    objective = build_objective(teacher, student, pairs, config, variant=variant, seed=0)
    times = []

    class Clocked:
        """The objective, noting when each step begins."""

        def __getattr__(self, attribute):
            return getattr(objective, attribute)

        def to(self, device):
            nonlocal objective
            objective = objective.to(device)
            return self

        def terms(self, *inputs):
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times.append(time.perf_counter())
            return objective.terms(*inputs)

    with tempfile.TemporaryDirectory() as folder:
        run = train(student, Clocked(), pairs, prompts, config, variant=variant, seed=0, folder=Path(folder))
        list(run)
    cuda = torch.cuda.is_available() and config.device in ("cuda", "auto")
    peak = torch.cuda.max_memory_allocated() / 1e6 if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    laps = [b - a for a, b in zip(times[steps:-1], times[steps + 1 :], strict=True)]  # full steps, end to end
    # sparse GAD is dear at some steps and free at others: its cost is the mean
    lap = statistics.mean(laps) if fraction < 1 else statistics.median(laps)
    return {"variant": name, "seconds": lap, "memory": peak}


def compare(rows: list[dict]) -> pd.DataFrame:
    """A row per variant: medians over rounds, their spread, and what it adds to the first variant."""
    table = pd.DataFrame(rows).groupby("variant", sort=False).agg(["median", "min", "max"])
    result = pd.DataFrame(
        {
            "s a step": table["seconds"]["median"].map("{:.3f}".format),
            "from .. to": [f"{a:.3f} .. {b:.3f}" for a, b in table["seconds"][["min", "max"]].to_numpy()],
            "peak MB": table["memory"]["median"].map("{:.0f}".format),
        }
    )
    for column, source in (("time added", "seconds"), ("memory added", "memory")):
        median = table[source]["median"]
        result[column] = [f"{value / median.iloc[0] - 1:+.1%}" for value in median]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="steps that are timed, after as many that are not")
    parser.add_argument("--variants", nargs="+", default=["baseline", "noise_augmentation", "gad", "gad" + CHEAP])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    unknown = {name.removesuffix(CHEAP) for name in arguments.variants} - set(VARIANTS)
    if unknown:
        parser.error(f"unknown variant {', '.join(sorted(unknown))}; there are: {', '.join(VARIANTS)}")
    if arguments.one:
        print(json.dumps(measure(arguments.recipe, arguments.one, arguments.steps)))
        return
    rows = []
    for number in range(arguments.rounds):
        for name in arguments.variants:
            command = [sys.executable, __file__, arguments.recipe, "--steps", str(arguments.steps), "--one", name]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{name}: {done.stderr.strip().splitlines()[-1]}")
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(f"round {number + 1}: {rows[-1]}", file=sys.stderr, flush=True)
    print(compare(rows).to_string())


if __name__ == "__main__":
    main()
