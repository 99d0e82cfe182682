"""How the work of a full-scale recipe grows: with the batch, with directions, and over processes. No download.

    python benchmarks/scaling.py pixart_tdm --batches 2 4 8 --directions 1 2 4 --processes 1 2
    python benchmarks/scaling.py pixart_tdm --depth 1 --size 8 --batches 2 4                   (a CPU: reduced)

A table for each option that is given: a training step with GAD by its batch, a response of the analysis by its
directions a noise, and the same noise pairs shared out to more and more processes by torch's launcher, all on this
machine (one GPU each; CPU processes have one thread each). Networks are the published ones with random weights, as in
full_scale.py. Time of processes counts from all being ready to all being done.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch
from full_scale import alone, device_name, prepared

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # of this tree, whichever is installed

from gad.data.pair_generation import generate_noise_pairs
from gad.preflight.architectures import architecture_of
from gad.preflight.dry_run import dry_run_pairs, random_teacher
from gad.runtime.cli import exit_with_status, positive_argument
from gad.runtime.devices import peak_memory_bytes
from gad.runtime.distributed import make_accelerator

STEPS = 4  # training steps that are timed


def row(cost: dict, count: int, **labels) -> dict:
    """A line of a table: seconds of the whole and of each of ``count`` things."""
    seconds, peak = cost["seconds"], cost["peak"] / 1e9
    return labels | {"seconds": f"{seconds:.3f}", "seconds each": f"{seconds / count:.4f}", "peak GB": f"{peak:.2f}"}


def by_batch(recipe: str, arguments) -> list[dict]:
    """Each is a sample of the batch."""
    sizes = {size: changed(arguments, batch=size) for size in arguments.batches}
    return [row(alone(recipe, "gad", options), size, batch=size) for size, options in sizes.items()]


def by_directions(recipe: str, arguments) -> list[dict]:
    """Each is a direction of every noise of the batch; the value at the noise itself is asked once."""
    counts = {count: changed(arguments, directions=count) for count in arguments.directions}
    return [row(alone(recipe, "sensitivity", options), count, directions=count) for count, options in counts.items()]


def by_processes(recipe: str, arguments) -> list[dict]:
    """Each is a noise with all its trajectories; the work is the same for any number of processes."""
    found = []
    for count in arguments.processes:
        with tempfile.TemporaryDirectory() as folder:
            done = launched(recipe, folder, count, arguments)
        found.append(row(done, done["pairs"], processes=count))
    return found


def changed(arguments, **changes) -> argparse.Namespace:
    """The options of full_scale.py: this command's, with some changes."""
    options = {"batch": arguments.batch, "directions": None, "steps": STEPS} | changes
    return argparse.Namespace(**(vars(arguments) | options))


def launched(recipe: str, folder: str, count: int, arguments) -> dict:
    """What the first of ``count`` processes says that share out noise pairs."""
    options = [
        f"--{name}={getattr(arguments, name)}" for name in ("depth", "size", "batch") if getattr(arguments, name)
    ]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count), __file__]
    command += [recipe, *options, "--processes", *map(str, arguments.processes), "--folder", folder]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    if done.returncode:
        faults = [line for line in done.stderr.splitlines() if "Error: " in line]
        sys.exit(f"{recipe}, {count} processes: {(faults or ['the launcher failed'])[0]}")
    return json.loads(done.stdout.splitlines()[-1])


def share_pairs(recipe: str, arguments) -> dict | None:
    """This process's part of a batch of noise pairs for each process there is at most; the first one tells the time."""
    settings = prepared(recipe, "noise_pairs", arguments.batch)
    size = settings.noise_pairs.batch_size
    config = dry_run_pairs(settings, size * max(arguments.processes)).model_copy(update={"shard_size": size})
    architecture = architecture_of(settings.teacher.pretrained)
    teacher = random_teacher(architecture, depth=arguments.depth or settings.dry_run_depth, size=arguments.size)
    accelerator = make_accelerator(config.device)
    accelerator.wait_for_everyone()
    start = time.perf_counter()
    list(generate_noise_pairs(Path(arguments.folder) / "pairs", teacher, "scaling", config))
    accelerator.wait_for_everyone()
    seconds, first = time.perf_counter() - start, accelerator.is_main_process
    accelerator.end_training()
    return {"seconds": seconds, "peak": peak_memory_bytes(), "pairs": config.num_pairs} if first else None


TABLES = {
    "batches": ("a training step with GAD, each: a sample", by_batch),
    "directions": ("a response of the analysis, each: a direction", by_directions),
    "processes": ("noise pairs, each: a noise; peak of the first process", by_processes),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    for name in TABLES:
        parser.add_argument(f"--{name}", nargs="+", type=positive_argument, default=[])
    parser.add_argument(
        "--batch", type=positive_argument, help="samples where the batch does not grow; the recipe's else"
    )
    parser.add_argument("--depth", type=positive_argument, help="layers of the network; a UNet: levels")
    parser.add_argument("--size", type=positive_argument, help="side of the latent")
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder:
        if (found := share_pairs(arguments.recipe, arguments)) is not None:
            print(json.dumps(found))
        return
    devices = torch.cuda.device_count()
    if devices and max(arguments.processes, default=0) > devices:
        parser.error(f"{max(arguments.processes)} processes need as many GPUs, there are {devices}")
    cut = f", REDUCED to depth {arguments.depth or 'full'}, latent size {arguments.size or 'full'}"
    print(f"{arguments.recipe} on {device_name()}{cut if arguments.depth or arguments.size else ''}")
    for name, (title, measure) in TABLES.items():
        if getattr(arguments, name):
            print(f"\n{title}\n{pd.DataFrame(measure(arguments.recipe, arguments)).to_string(index=False)}", flush=True)


if __name__ == "__main__":
    exit_with_status(main)
