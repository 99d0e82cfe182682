"""How many operators a training step calls, and how often it makes a GPU wait for the host; counted on a CPU.

    python benchmarks/step_counts.py pixart_tdm sana_sid sdxl_tdm [--variants baseline gad] [--out counts.json]

Networks are the published ones with random weights, one layer deep and on small latents, so that what grows with depth
is small beside the rest; --depth and --size change that. Counts are those of a step from the profiler, drawing of the
batch left out, which stays on the CPU. Optimisers loop over weights on a CPU, read a number of each, and are a few
kernels on a GPU: they are counted apart, without what they read.

    operators   calls of PyTorch's operators that no other operator makes; those of foreach loops count once
    reads       numbers that the host reads, and indices that depend on values: the host waits for the device
    copies      numbers of the host that are copied to a device: the host waits as well
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pandas as pd
from full_scale import prepared, variant_of
from torch.profiler import ProfilerActivity, profile, record_function

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # of this tree, whichever is installed

from gad.distillation.batch_source import BatchSource
from gad.distillation.nan_guard import NanGuard
from gad.preflight.dry_run import TIMED, dry_run_steps, dry_run_teacher
from gad.preflight.timing import Timed
from gad.runtime.cli import exit_with_status, positive_argument

DRAWING = "drawing of the batch"
READS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::unique_dim", "aten::_unique2", "aten::masked_select"}
COPIES = {"aten::lift_fresh"}
STEPS = 4  # that are counted
OPTIMISER = "Optimizer.step"


class Counted(Timed):
    """Profiles whole steps, from the student's loss of one to that of the last one, which logs."""

    def __init__(self, objective, accumulate: int):
        super().__init__(objective, accumulate)
        self.profiler = profile(activities=[ProfilerActivity.CPU])

    def begin_step(self, step: int) -> None:
        super().begin_step(step)
        if step == TIMED:
            self.profiler.start()
        elif step == TIMED + STEPS:
            self.profiler.stop()


def as_on_a_gpu() -> None:
    """Have what differs between devices be as it is on a GPU, and mark what stays on the CPU there."""
    at, watch = BatchSource.at, NanGuard.__init__

    def marked(source, step):
        with record_function(DRAWING):
            return at(source, step)

    def late(guard, *inputs):
        watch(guard, *inputs)
        guard.at_once = False

    BatchSource.at, NanGuard.__init__ = marked, late


def place_of(event) -> tuple[bool, bool, bool]:
    """Whether an event is within the drawing of a batch, an optimiser, and another operator."""
    drawing = optimiser = inner = False
    parent = event.cpu_parent
    while parent is not None:
        drawing |= parent.name == DRAWING
        optimiser |= parent.name.startswith(OPTIMISER)
        inner |= parent.name.startswith("aten::")
        parent = parent.cpu_parent
    return drawing, optimiser, inner


def counts_of(events) -> Counter:
    """The counts of all steps."""
    found: Counter = Counter()
    for event in (event for event in events if event.name.startswith("aten::")):
        drawing, optimiser, inner = place_of(event)
        if drawing:
            continue
        if not inner:
            found["operators of optimisers" if optimiser else "operators"] += 1
        if not optimiser:
            found["reads"] += event.name in READS
            found["copies"] += event.name in COPIES
    return found


def row_of(recipe: str, part: str, arguments) -> dict:
    settings = prepared(recipe, part, arguments.batch)
    teacher = dry_run_teacher(settings, depth=arguments.depth, size=arguments.size)
    with tempfile.TemporaryDirectory() as folder:
        options = {"steps": STEPS, "teacher": teacher, "clock": Counted}
        clock = dry_run_steps(settings, variant_of(part), Path(folder), **options)
    found = counts_of(clock.profiler.events())
    names = ("operators", "operators of optimisers", "reads", "copies")
    return {"recipe": recipe, "variant": part} | {name: found[name] / STEPS for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--variants", nargs="+", default=["baseline", "gad"])
    for name, value in {"batch": 8, "depth": 1, "size": 8}.items():
        parser.add_argument(f"--{name}", type=positive_argument, default=value)
    parser.add_argument("--out", type=Path, help="a JSON file for the counts")
    arguments = parser.parse_args()
    as_on_a_gpu()
    rows = []
    for recipe in arguments.recipes:
        for variant in arguments.variants:
            rows.append(row_of(recipe, variant, arguments))
            print(pd.DataFrame(rows[-1:]).to_string(index=False, header=len(rows) == 1), flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    exit_with_status(main)
