"""Where the time of a training step goes, by phase and by operation.

    python benchmarks/step_profile.py emoji_flow_sid [--steps 5] [--variants baseline gad gad_thin]

Variants are named as for benchmarks/cost.py, and the recipe's noise pairs must be there.
"""

import argparse
import sys
from dataclasses import is_dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from cost import check, default_variants, prepare, run
from torch.profiler import ProfilerActivity, profile, record_function

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # of this tree, whichever is installed

from gad.preflight.timing import Timed
from gad.runtime.cli import exit_with_status, positive_argument

PHASE = "phase: "
OPERATIONS = 15  # of the profile, by their own time


class Phased(Timed):
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

    def __getattr__(self, attribute):
        return getattr(self.stored, attribute)

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


def show_profile(recipe: str, name: str, steps: int) -> None:
    """Print where the time of training goes. Phases lie within each other and do not add up."""
    objective, config, given, teacher = prepare(recipe, name, 2 * steps)
    timed = Phased(objective, config.accumulate)
    label_backward()
    label_calls(given["student"].network, "student")
    if isinstance(getattr(teacher.denoiser, "network", None), torch.nn.Module):
        label_calls(teacher.denoiser.network, "teacher")
    if timed.auxiliary is not None:
        label_calls(timed.auxiliary, "fake score or discriminator")
    if is_dataclass(timed.objective) and hasattr(timed.objective, "stored"):
        timed.objective = replace(timed.objective, stored=StoredTerms(timed.objective.stored))
    cuda = [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
    with profile(activities=[ProfilerActivity.CPU, *cuda]) as profiler:
        run(timed, config, given)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--steps", type=positive_argument, default=5, help="half of the steps that are profiled")
    parser.add_argument("--variants", nargs="+")
    arguments = parser.parse_args()
    variants = arguments.variants or default_variants(arguments.recipe)
    fault = check(variants)
    if fault:
        parser.error(fault)
    for name in variants:
        show_profile(arguments.recipe, name, arguments.steps)


if __name__ == "__main__":
    exit_with_status(main)
