"""What a full-scale recipe costs, with the published networks and random weights: nothing is downloaded.

    python benchmarks/full_scale.py sd21_ladd pixart_tdm sana_sid
    python benchmarks/full_scale.py pixart_tdm --depth 2 --size 16 --batch 8        (a CPU: reduced, and named so)
    python benchmarks/full_scale.py sana_sid --flops                                (a step's work, counted: full size)
    python benchmarks/full_scale.py sana_sid --memory                               (its memory, counted: full size)

Per recipe: a call of noise pairs, a training step without GAD, with it as the recipe has it and on every pair, a
student's folder written and read, a response of the analysis, and a turn of the noise in layout control; then what GAD
adds to the step. Every line is a process of its own, whose peak memory it tells; with --turns the steps are timed
in one process in which the variants take turns: that needs memory for all of them, but on a busy CPU nothing else tells
them apart. A part is told as soon as it is measured, or why it failed; then the exit status is 1. GAD at a share
of the steps is computed from the two kinds of step that it is made of: its time is a mean, its peak memory that of GAD.
Output matching on free pairs is the setting in which GAD costs no further call. On a CPU networks compute in float32.

--flops and --memory count from shapes, without weights, as a GPU would compute. --memory: weights with gradients and
optimiser, the most that a step or its log holds besides, their sum, and the smallest of cards with 24, 48 and 80 GB
(1e9 bytes) that it fits with 1.5 GB left for CUDA itself and the gaps between tensors. Of a sharded recipe it is that
of one process which holds all.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from math import gcd
from pathlib import Path
from statistics import median

import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # of this tree, whichever is installed

from gad.config import Recipe, load_recipe
from gad.preflight.architectures import architecture_network_parameters, architecture_of, build_architecture
from gad.preflight.cost import Cost, cost_utilisation
from gad.preflight.dry_run import TIMED, dry_run_part, dry_run_steps, dry_run_teacher
from gad.preflight.dry_run_counts import dry_run_flops, dry_run_peaks
from gad.preflight.estimate import estimate_memory_bytes, smallest_gpu
from gad.preflight.timing import Alternating, Turns, time_by_turns
from gad.runtime.cli import exit_with_status, positive_argument

ALL = "_all"  # after a variant: on every pair at every step, whatever the recipe says
FREE = "matching:"  # before a variant: output matching instead of the recipe's paradigm
STUDENT = ("baseline", "gad", "gad" + ALL, FREE + "baseline", FREE + "gad")
PARTS = ("noise_pairs", *STUDENT, "folder", "sensitivity", "control")


def prepared(recipe: str, part: str, batch: int | None, directions: int | None = None) -> Recipe:
    """The recipe, with another batch and other directions a noise, on the device that is here; GAD at every step."""
    settings = load_recipe(recipe)
    changes = {"student": {"gad_fraction": 1.0}, "noise_pairs": {}, "sensitivity": {}, "control": {}}
    if part.startswith(FREE):
        changes["student"] |= {"paradigm": "matching", "gad_batch_stride": 1}
    if part.endswith(ALL):
        changes["student"]["gad_batch_stride"] = 1
    changes["student"]["shard"] = False  # one process measures
    if batch is not None:
        changes["student"] = batch_in_one_part(settings, batch) | changes["student"]
        changes["noise_pairs"]["batch_size"] = changes["sensitivity"]["batch_size"] = batch
        if settings.control.layout:
            changes["control"]["layout"] = settings.control.layout.model_copy(update={"batch_size": batch})
    if directions is not None:
        changes["sensitivity"]["num_directions"] = directions
    if not torch.cuda.is_available():
        for section in ("student", "noise_pairs"):
            changes[section] |= {"device": "cpu", "dtype": "float32"}
    updated = {name: getattr(settings, name).model_copy(update=values) for name, values in changes.items()}
    return settings.model_copy(update=updated)


def batch_in_one_part(settings: Recipe, batch: int) -> dict:
    """The student's keys for another batch, with the largest stride up to the recipe's that divides its pairs."""
    return {
        "batch_size": batch,
        "accumulate": 1,
        "gad_batch_stride": gcd(settings.student.gad_batch_stride, batch // 2),
    }


def variant_of(part: str) -> str:
    return part.removeprefix(FREE).removesuffix(ALL)


def as_the_recipe_has_it(recipe: str, batch: int | None) -> str:
    """What part of the pairs and steps GAD is on, in words."""
    stride, share = prepared(recipe, "gad", batch).student.gad_batch_stride, share_of(recipe, "gad")
    return f"on one of {stride} pairs" + (f" at {share:.0%} of the steps, computed" if share < 1 else "")


def share_of(recipe: str, part: str) -> float:
    """The share of the steps that have GAD in that part."""
    return load_recipe(recipe).student.gad_fraction if part == "gad" else 1.0


def measure(recipe: str, part: str, arguments) -> dict:
    settings = prepared(recipe, part, arguments.batch, arguments.directions)
    with tempfile.TemporaryDirectory() as folder:
        options = {"steps": arguments.steps, "depth": arguments.depth, "size": arguments.size}
        cost = dry_run_part(settings, variant_of(part), Path(folder), **options)
    return asdict(cost) | {"part": part, "dtype": settings.student.dtype}


def alone(recipe: str, part: str, arguments) -> dict:
    """What :func:`measure` finds in a process of its own, whose peak memory is the part's; SystemExit if it failed."""
    options = [(name, getattr(arguments, name)) for name in ("steps", "depth", "size", "batch", "directions")]
    options = [f"--{name}={value}" for name, value in options if value is not None]
    command = [sys.executable, __file__, recipe, *options, "--one", part]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{recipe}, {part}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def rows_of(recipe: str, arguments) -> Iterator[dict]:
    """The parts that could be measured, each told at once: a run that is cut off has told what it found."""
    for part in parts_of(recipe, arguments):
        print(f"{recipe}: measuring {part}", file=sys.stderr, flush=True)
        try:
            row = alone(recipe, part, arguments)
        except SystemExit as error:
            print(error, file=sys.stderr, flush=True)
            continue
        print(f"  {row['seconds']:.3f} s, peak {row['peak'] / 1e9:.2f} GB", file=sys.stderr, flush=True)
        yield row


def laps_of(recipe: str, part: str, arguments, turns: Turns, mine: int) -> list[float]:
    """Seconds of the training steps of a part, each waited for."""
    settings = prepared(recipe, part, arguments.batch)
    clock = partial(Alternating, turns=turns, mine=mine)
    teacher = dry_run_teacher(settings, depth=arguments.depth, size=arguments.size)
    with tempfile.TemporaryDirectory() as folder:
        options = {"steps": arguments.turns, "teacher": teacher, "clock": clock}
        return dry_run_steps(settings, variant_of(part), Path(folder), **options).laps[TIMED:]


def by_turns_too(recipe: str, rows: list[dict], arguments) -> list[dict]:
    """The rows with, for training steps, the ``laps`` of every turn and their median instead of the ``seconds``."""
    parts = [row["part"] for row in rows if row["part"] in STUDENT]
    if not parts:
        return rows
    print(f"{recipe}: taking turns of {', '.join(parts)}", file=sys.stderr, flush=True)
    laps = time_by_turns([partial(laps_of, recipe, part, arguments) for part in parts])
    timed = {part: {"laps": own, "seconds": median(own)} for part, own in zip(parts, laps, strict=True)}
    return [row | timed.get(row["part"], {}) for row in rows]


def parts_of(recipe: str, arguments) -> list[str]:
    """The parts that are asked for; by default all, every pair at every step only where the recipe has less."""
    student = load_recipe(recipe).student
    less = student.gad_batch_stride > 1 or student.gad_fraction < 1
    return arguments.parts or [part for part in PARTS if less or not part.endswith(ALL)]


def tell_flops(recipe: str, arguments) -> None:
    """A line for each kind of training step: its FLOPs, and what that adds to the step without GAD."""
    cut, found = {"depth": arguments.depth, "size": arguments.size}, {}
    asked = parts_of(recipe, arguments)
    for part in (part for part in STUDENT if part in asked):  # the baseline first
        settings, variant = prepared(recipe, part, arguments.batch), variant_of(part)
        with tempfile.TemporaryDirectory() as folder:
            found[part] = dry_run_flops(settings, variant, Path(folder), **cut)
        base = found.get(FREE * part.startswith(FREE) + "baseline")
        if base:
            found[part] = base + share_of(recipe, part) * (found[part] - base)
        more = f" ({found[part] / base - 1:+.1%})" if base else " that has GAD" * variant.startswith("gad")
        told = f"{found[part] / 1e12:.4g} TFLOP a step of {settings.student.batch_size}{more}"
        print(f"{recipe}, {part}: {told}", flush=True)


def tell_memory(recipe: str, arguments) -> None:
    """A line for the training of baseline and GAD: what it holds on the device at most, as it would be on a GPU."""
    settings = load_recipe(recipe)
    batch = {} if arguments.batch is None else batch_in_one_part(settings, arguments.batch)
    settings = settings.model_copy(update={"student": settings.student.model_copy(update={"shard": False} | batch)})
    cut = settings.model_copy(update={"dry_run_depth": arguments.depth or settings.dry_run_depth})
    weights = sum(estimate_memory_bytes(cut, architecture_of(settings.teacher.pretrained)).values())
    for variant in ("baseline", "gad"):
        with tempfile.TemporaryDirectory() as folder:
            peaks = dry_run_peaks(settings, variant, Path(folder), depth=arguments.depth, size=arguments.size)
        more = peaks["batch"] + max(peaks["step"], peaks["log"])
        card = smallest_gpu(weights + more)
        told = f"{weights / 1e9:.1f} GB of weights and optimiser, {more / 1e9:.1f} of activations at most"
        told += f" (step {peaks['step'] / 1e9:.1f}, log {peaks['log'] / 1e9:.1f}), {(weights + more) / 1e9:.1f} in all"
        print(f"{recipe}, {variant}: {told}: {f'fits {card} GB' if card else 'more than 80 GB'}", flush=True)


def device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU ({platform.machine()})"


def table(rows: list[dict]) -> pd.DataFrame:
    """A row per part."""
    result = []
    for row in rows:
        cost = Cost(*(row[name] for name in ("stage", "unit", "seconds", "flops", "tokens", "peak")))
        mfu = cost_utilisation(cost, device_name(), row["dtype"])
        result.append(
            {
                "part": row["part"],
                "unit": cost.unit,
                "seconds": f"{cost.seconds:.3f}",
                "tokens/s": f"{cost.tokens / cost.seconds:.0f}" if cost.tokens else "-",
                "TFLOP": f"{cost.flops / 1e12:.3f}" if cost.flops else "-",
                "MFU": "-" if mfu is None else f"{mfu:.1%}",
                "peak GB": f"{cost.peak / 1e9:.2f}",
            }
        )
    return pd.DataFrame(result)


def added(rows: list[dict], share: float, own: str) -> list[str]:
    """What GAD adds to the step's time and to the peak memory; ``share``: of the recipe's steps that have it, ``own``:
    its setting in words."""
    by, lines = {row["part"]: row for row in rows}, []

    def line(name: str, part: str, base: str, share: float = 1.0) -> None:
        if {part, base} <= set(by):
            flops, memory = (by[part][key] / by[base][key] - 1 for key in ("flops", "peak"))
            ours, theirs = (by[name].get("laps", [by[name]["seconds"]]) for name in (part, base))
            time = median(a / b for a, b in zip(ours, theirs, strict=True)) - 1
            lines.append(f"{name}: time {share * time:+.1%}, FLOPs {share * flops:+.1%}, memory {memory:+.1%}")

    line(f"GAD {own}", "gad", "baseline", share)
    line("GAD on every pair at every step", "gad" + ALL, "baseline")
    line("GAD on free pairs (output matching)", FREE + "gad", FREE + "baseline")
    return lines


def report(recipe: str, rows: list[dict], arguments) -> None:
    settings = prepared(recipe, "", arguments.batch)
    architecture = architecture_of(settings.teacher.pretrained)
    depth = arguments.depth or settings.dry_run_depth
    network = build_architecture(architecture, depth=depth, size=arguments.size, device="meta")
    whole = depth is None and arguments.size is None
    cut = "" if whole else f", REDUCED to depth {depth or 'full'}, latent size {arguments.size or 'full'}"
    print(
        f"\n{recipe} on {device_name()}, {settings.student.dtype}, "
        f"{architecture_network_parameters(network) / 1e9:.3f} B{cut}"
    )
    print(table(rows).to_string(index=False))
    print("\n".join(added(rows, share_of(recipe, "gad"), as_the_recipe_has_it(recipe, arguments.batch))))
    cut_settings = settings.model_copy(update={"dry_run_depth": depth})
    needs = ", ".join(
        f"{name} {need / 1e9:.2f}" for name, need in estimate_memory_bytes(cut_settings, architecture).items()
    )
    print(f"GB by network without activations: {needs}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--steps", type=positive_argument, default=4, help="training steps that are timed")
    parser.add_argument("--depth", type=positive_argument, help="layers of the network; a UNet: levels")
    parser.add_argument("--size", type=positive_argument, help="side of the latent")
    parser.add_argument("--batch", type=positive_argument, help="samples a step, in one part")
    parser.add_argument("--directions", type=positive_argument, help="directions a noise of the analysis")
    parser.add_argument("--parts", nargs="+", choices=PARTS)
    parser.add_argument("--turns", type=int, default=0, help="timed steps of each variant, side by side")
    parser.add_argument("--flops", action="store_true", help="count the FLOPs of training steps; nothing is computed")
    parser.add_argument("--memory", action="store_true", help="count the memory of training; nothing is computed")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.recipes[0], arguments.one, arguments)))
        return 0
    for recipe in arguments.recipes:  # before processes are started for each
        architecture_of(load_recipe(recipe).teacher.pretrained)
    missing = 0
    for recipe in arguments.recipes:
        if arguments.flops:
            tell_flops(recipe, arguments)
        if arguments.memory:
            tell_memory(recipe, arguments)
        if arguments.flops or arguments.memory:
            continue
        rows = list(rows_of(recipe, arguments))
        missing += len(parts_of(recipe, arguments)) - len(rows)
        report(recipe, by_turns_too(recipe, rows, arguments) if arguments.turns else rows, arguments)
    return int(missing > 0)


if __name__ == "__main__":
    exit_with_status(main)
