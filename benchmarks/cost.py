"""What GAD costs (the paper's Table 10): time of a training step and peak memory, beside the same base loss without it.

    python benchmarks/cost.py emoji_flow_sid [--rounds 5] [--steps 10] [--variants baseline gad gad_thin] [--profile]

Every measurement is a process of its own; variants take turns, so a machine that slows down slows all of them. The
recipe's noise pairs must be there (dvc repro noise_pairs@<recipe>). A variant's name with an ending of CHEAP runs in
that cheaper setting, but for _sparse: which of a few steps have GAD is chance, so its time is computed, round by round,
from the baseline's and the variant's own. --profile shows where a step's time goes instead: by phase and by operation.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import is_dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from torch.profiler import ProfilerActivity, profile, record_function

from gad.artifacts import stage_dir
from gad.clocked import Clocked
from gad.config import StudentConfig, load_recipe
from gad.noise_pairs import NoisePairs
from gad.objectives.build import build_objective
from gad.objectives.variants import VARIANTS
from gad.students import encode_pair_prompts, start_student
from gad.teachers.load import load_model
from gad.training import train

CHEAP = {  # at a fifth of the steps, on a quarter of the pairs, at the pairs between two times
    "_sparse": {"gad_fraction": 0.2},
    "_thin": {"gad_batch_stride": 4},
    "_gated": {"gad_interval": [0.2, 0.6]},
}
SPARSE = "_sparse"
PHASE = "phase: "
OPERATIONS = 15  # of the profile, by their own time


def settings_of(name: str) -> tuple[str, dict]:
    """The variant, and what its ending changes."""
    for ending, changes in CHEAP.items():
        if name.endswith(ending):
            return name.removesuffix(ending), changes
    return name, {}


class Phased(Clocked):
    """Names the parts of a step for the profile."""

    def terms(self, *inputs):
        with record_function(PHASE + "all losses, forward"):
            return super().terms(*inputs)

    def auxiliary_loss(self, *inputs):
        with record_function(PHASE + "fake score or discriminator, forward"):
            return self.objective.auxiliary_loss(*inputs)


class StoredTerms:
    """The terms on stored pairs, as a phase of its own."""

    def __init__(self, stored):
        self.stored = stored

    def add_to(self, *inputs, **options):
        with record_function(PHASE + "GAD's terms, forward"):
            return self.stored.add_to(*inputs, **options)


def label_calls(network: torch.nn.Module, name: str) -> None:
    """Make the forward calls of a network a phase."""
    ranges = []

    def enter(*_):
        ranges.append(record_function(f"{PHASE}{name} network, forward").__enter__())

    network.register_forward_pre_hook(enter)
    network.register_forward_hook(lambda *_: ranges.pop().__exit__(None, None, None), always_call=True)


def label_backward() -> None:
    """Make every backward pass a phase."""
    backward = torch.Tensor.backward

    def labelled(*inputs, **options):
        with record_function(PHASE + "all backward passes"):
            return backward(*inputs, **options)

    torch.Tensor.backward = labelled


def prepare(recipe: str, name: str, steps: int) -> tuple[Phased, StudentConfig, tuple]:
    """The clocked objective, its settings for twice ``steps`` steps, and what ``train`` takes besides."""
    settings = load_recipe(recipe)
    variant, changes = settings_of(name)
    lengths = {"num_steps": 2 * steps, "log_every": 2 * steps, "checkpoint_every": 2 * steps}
    config = StudentConfig(**settings.student.model_dump() | changes | lengths | {"shard": False})
    teacher = load_model(stage_dir(recipe, "teacher"))
    pairs = NoisePairs(stage_dir(recipe, "noise_pairs"))
    prompts = encode_pair_prompts(teacher, pairs)
    student = start_student(teacher, config, seed=0)
    objective = build_objective(teacher, student, pairs, config, variant=variant, seed=0)
    return Phased(objective, config.accumulate), config, (teacher, student, pairs, prompts, variant)


def measure(recipe: str, name: str, steps: int) -> dict:
    """Median seconds a step, after as many to warm up, and peak memory in MB."""
    clocked, config, (_, student, pairs, prompts, variant) = prepare(recipe, name, steps)
    with tempfile.TemporaryDirectory() as folder:
        list(train(student, clocked, pairs, prompts, config, variant=variant, seed=0, folder=Path(folder)))
    times = clocked.times
    laps = [b - a for a, b in zip(times[steps:-1], times[steps + 1 :], strict=True)]  # full steps, end to end
    # gated GAD asks for more pairs at some steps than at others: its cost is the mean
    lap = statistics.mean(laps) if config.gad_interval != [0.0, 1.0] else statistics.median(laps)
    return {"variant": name, "seconds": lap, "memory": clocked.peak / 1e6}


def sparse_row(name: str, measured: dict[str, dict]) -> dict:
    """What GAD at a share of the steps costs, from a round's baseline and GAD at every step, whose memory it needs."""
    base, dear = measured["baseline"], measured[name.removesuffix(SPARSE)]
    seconds = base["seconds"] + CHEAP[SPARSE]["gad_fraction"] * (dear["seconds"] - base["seconds"])
    return {"variant": name, "seconds": seconds, "memory": dear["memory"]}


def show_profile(recipe: str, name: str, steps: int) -> None:
    """Print where the time of training goes. Phases lie within each other and do not add up."""
    clocked, config, (teacher, student, pairs, prompts, variant) = prepare(recipe, name, steps)
    label_backward()
    label_calls(student.network, "student")
    if isinstance(getattr(teacher.denoiser, "network", None), torch.nn.Module):
        label_calls(teacher.denoiser.network, "teacher")
    if clocked.auxiliary is not None:
        label_calls(clocked.auxiliary, "fake score or discriminator")
    if is_dataclass(clocked.objective) and hasattr(clocked.objective, "stored"):
        clocked.objective = replace(clocked.objective, stored=StoredTerms(clocked.objective.stored))
    cuda = [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
    with tempfile.TemporaryDirectory() as folder, profile(activities=[ProfilerActivity.CPU, *cuda]) as profiler:
        list(train(student, clocked, pairs, prompts, config, variant=variant, seed=0, folder=Path(folder)))
    averages, key = profiler.key_averages(), "cuda" if cuda else "cpu"
    rows = [
        {"phase": event.key.removeprefix(PHASE), "calls": event.count, "ms a step": event.cpu_time_total / 2e3 / steps}
        for event in averages
        if event.key.startswith(PHASE)
    ]
    print(f"\n{recipe}, {name}: {2 * steps} steps")
    print(pd.DataFrame(rows).sort_values("ms a step", ascending=False).to_string(index=False, float_format="%.1f"))
    operations = [event for event in averages if not event.key.startswith(PHASE)]
    print(type(averages)(operations).table(sort_by=f"self_{key}_time_total", row_limit=OPERATIONS))


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


def default_variants(recipe: str) -> list[str]:
    """The baseline and GAD, and the cheaper settings where there is a call to save."""
    settings = load_recipe(recipe)
    free = settings.student.paradigm == "matching" or settings.noise_pairs.num_nodes == 1
    return ["baseline", "gad", *(() if free else ("gad" + ending for ending in CHEAP))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="steps that are timed, after as many that are not")
    parser.add_argument("--variants", nargs="+")
    parser.add_argument("--profile", action="store_true", help="show where the time goes instead")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.recipe, arguments.one, arguments.steps)))
        return
    variants = arguments.variants or default_variants(arguments.recipe)
    unknown = {settings_of(name)[0] for name in variants} - set(VARIANTS)
    if unknown:
        parser.error(f"unknown variant {', '.join(sorted(unknown))}; there are: {', '.join(VARIANTS)}")
    if arguments.profile:
        for name in variants:
            show_profile(arguments.recipe, name, arguments.steps)
        return
    sparse = [name for name in variants if name.endswith(SPARSE)]
    for name in sparse:
        absent = {"baseline", name.removesuffix(SPARSE)} - set(variants)
        if absent:
            parser.error(
                f"{name} is computed from the baseline and {name.removesuffix(SPARSE)}: name {min(absent)} too"
            )
    rows = []
    for number in range(arguments.rounds):
        measured = {}
        for name in [name for name in variants if name not in sparse]:
            command = [sys.executable, __file__, arguments.recipe, "--steps", str(arguments.steps), "--one", name]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{name}: {done.stderr.strip().splitlines()[-1]}")
            measured[name] = json.loads(done.stdout.splitlines()[-1])
            print(f"round {number + 1}: {measured[name]}", file=sys.stderr, flush=True)
        measured |= {name: sparse_row(name, measured) for name in sparse}
        rows += [measured[name] for name in variants]
    print(compare(rows).to_string())
    for name in sparse:
        share = CHEAP[SPARSE]["gad_fraction"]
        print(f"{name}: computed, baseline + {share} ({name.removesuffix(SPARSE)} - baseline) in each round, not timed")


if __name__ == "__main__":
    main()
