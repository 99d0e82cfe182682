"""Checks of this machine's disk and memory against what a recipe will need."""

import shutil
from collections.abc import Iterator

import psutil
import torch

from gad.config import Recipe
from gad.preflight.architectures import Architecture, architecture_of
from gad.preflight.estimate import estimate_disk_bytes, estimate_host_bytes, estimate_memory_bytes
from gad.preflight.finding import Finding
from gad.runtime.distributed import distributed_processes_per_node
from gad.runtime.paths import DATA, ROOT

GB = 1e9
ACTIVATIONS = 0.25  # share of a device's memory that has to be left for them


def check_sizes(settings: Recipe) -> Iterator[Finding]:
    """Disk and memory against what the recipe will need; for published teachers, whose sizes are known."""
    if settings.teacher.pretrained is None:
        return
    try:
        architecture = architecture_of(settings.teacher.pretrained)
    except ValueError:
        yield Finding("warn", "no estimate of disk and memory: the teacher is none of the published ones")
        return
    yield from _check_disk(settings, architecture)
    yield from _check_memory(settings, architecture)


def _check_disk(settings: Recipe, architecture: Architecture) -> Iterator[Finding]:
    """Free bytes where the project's data lies."""
    needs = estimate_disk_bytes(settings, architecture)
    free, total = shutil.disk_usage(DATA if DATA.exists() else ROOT).free, sum(needs.values())
    parts = ", ".join(f"{name} {value / GB:.1f}" for name, value in needs.items())
    what = f"disk: about {total / GB:.0f} GB needed ({parts}), {free / GB:.0f} GB free"
    one = estimate_disk_bytes(settings, architecture, num_variants=1)["students"]
    what += f"; each variant more than baseline and gad takes {one / GB:.1f}"
    do = "" if free > total else f"make room in {DATA}, or lower noise_pairs.num_pairs"
    yield Finding("ok" if free > total else "missing", what, do)


def _check_memory(settings: Recipe, architecture: Architecture) -> Iterator[Finding]:
    """Weights, gradients and optimiser states against the device's memory, and the pipeline against the RAM."""
    needs = estimate_memory_bytes(settings, architecture)
    cuda = torch.cuda.is_available() and settings.student.device in ("cuda", "auto")
    have = torch.cuda.get_device_properties(0).total_memory if cuda else psutil.virtual_memory().total
    parts = ", ".join(f"{name} {value / GB:.1f}" for name, value in needs.items())
    total, place = sum(needs.values()), "GPU memory" if cuda else "RAM"
    what = f"{place}: {total / GB:.0f} GB of networks ({parts}) and activations, {have / GB:.0f} GB there"
    if total < (1 - ACTIVATIONS) * have:
        yield Finding("ok", what, "")
    elif total < have:
        more = {"gradient_checkpointing: true": settings.student.gradient_checkpointing}
        more["optimizer: adamw_8bit"] = settings.student.optimizer == "adamw_8bit"
        do = " or ".join(["set student.accumulate higher", *(option for option, on in more.items() if not on)])
        yield Finding("warn", f"{what}: little is left for activations", do)
    elif settings.student.shard:
        yield Finding("warn", f"{what}, sharded over the processes", "start enough of them")
    else:
        adapter = "" if settings.student.lora else "student.lora, or "
        do = (
            f"set {adapter}student.optimizer: adamw_8bit, or student.shard: true with several GPUs, or use a larger GPU"
        )
        yield Finding("missing", what, do)
    processes, ram = distributed_processes_per_node(), psutil.virtual_memory().total
    host = estimate_host_bytes(settings, architecture, processes)
    if cuda or processes > 1 or host > ram:
        each = f", held whole by each of {processes} processes" if processes > 1 else ""
        what = f"RAM: {host / GB:.0f} GB for pipeline, prompts or checkpoint in float32{each}, {ram / GB:.0f} GB there"
        do = "use a machine with more RAM" + (", or fewer processes on it" if processes > 1 else "")
        yield Finding("ok" if host < ram else "missing", what, "" if host < ram else do)
