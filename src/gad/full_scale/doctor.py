"""What is missing before a recipe can run, found out in seconds: a line for each thing, with what to do."""

import importlib.util
import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import torch
from huggingface_hub import try_to_load_from_cache

from gad.artifacts import DATA, ROOT
from gad.config import Recipe, SensitivityConfig
from gad.full_scale.architectures import Architecture, architecture_of
from gad.full_scale.borrowed import check_files, check_judges, check_students
from gad.full_scale.estimate import disk_bytes, host_bytes, memory_bytes
from gad.full_scale.finding import Finding
from gad.full_scale.rounding import check_amplification, check_rounding
from gad.models.families import FAMILIES
from gad.prompts import load_prompts

HUB = "huggingface.co"
TIMEOUT = 3.0  # seconds
GB = 1e9


def examine(settings: Recipe) -> Iterator[Finding]:
    """Every check of a recipe in turn. Nothing is fetched, and the network is asked only if something is missing."""
    yield Finding("ok", f"recipe {settings.name} is valid")
    checks = (
        check_device,
        check_teacher,
        check_prompts,
        check_rounding,
        check_amplification,
        check_sizes,
        check_judges,
        check_files,
        check_students,
    )
    lacking = False
    for check in checks:
        for finding in check(settings):
            lacking |= finding.state == "missing"
            yield finding
    if lacking:
        yield check_network()


def check_device(settings: Recipe) -> Iterator[Finding]:
    """The devices that the recipe names, and what they can do."""
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True, "auto": True}
    for section in ("noise_pairs", "student", "sensitivity", "control"):
        device = getattr(settings, section).device
        if not found[device]:
            yield Finding("missing", f"{section}.device {device} is not here", "use cpu or auto, or another machine")
    best = next(name for name in ("cuda", "mps", "cpu") if found[name])
    if settings.student.dtype == "float16" and (best != "cuda" or settings.student.device == "cpu"):
        yield Finding("warn", "float16 without a CUDA GPU is slow", "set student.dtype: float32, or use a GPU")
    if settings.student.optimizer == "adamw_8bit" and importlib.util.find_spec("bitsandbytes") is None:
        yield Finding("missing", "optimizer adamw_8bit needs bitsandbytes", "pip install bitsandbytes")
    name = torch.cuda.get_device_name() if found["cuda"] else best
    yield Finding("ok" if best != "cpu" or settings.teacher.world != "prompts" else "warn", f"device found: {name}",
                  "" if best != "cpu" or settings.teacher.world != "prompts" else "full size needs a GPU")  # fmt: skip


def fetch_command(source: str, revision: str | None) -> str:
    """How a teacher is fetched, here or on a machine with a network whose files are then carried over."""
    pin = f" --revision {revision}" if revision else ""
    return f"hf download {source}{pin} (into HF_HOME), or with --local-dir DIR and teacher.pretrained: DIR"


def check_teacher(settings: Recipe) -> Iterator[Finding]:
    """The teacher's folder, or its place in the hub's cache, with all its files whole."""
    section = settings.teacher
    if section.pretrained is None or settings.dry_run:
        yield Finding("ok", "dry run: no weights are read" if settings.dry_run else "the teacher is made here")
        return
    folder = teacher_folder(section.pretrained, section.revision)
    if folder is None:
        command = fetch_command(section.pretrained, section.revision)
        yield Finding("missing", f"teacher {section.pretrained} is neither a folder nor in the hub's cache", command)
        return
    if not (ROOT / section.pretrained).is_dir() and section.revision is None:
        yield Finding("warn", f"teacher {section.pretrained} is not pinned", "set teacher.revision to a commit's hash")
    faults = list(faults_of_pipeline(folder))
    yield from (Finding("missing", f"teacher: {what}", do) for what, do in faults)
    if not faults:
        yield Finding("ok", f"teacher in {folder}")


def teacher_folder(source: str, revision: str | None) -> Path | None:
    """Where the teacher's files are on this machine, or None."""
    if (ROOT / source).is_dir():
        return ROOT / source
    try:
        found = try_to_load_from_cache(source, "model_index.json", revision=revision)
    except ValueError:  # no hub name at all
        return None
    return Path(found).parent if isinstance(found, str) else None


def faults_of_pipeline(folder: Path) -> Iterator[tuple[str, str]]:
    """What is wrong with a diffusers folder, and what to do about it."""
    again = "fetch the folder again"
    try:
        index = json.loads((folder / "model_index.json").read_text())
    except (OSError, ValueError):
        yield f"{folder} has no readable model_index.json", "name the folder that diffusers' save_pretrained wrote"
        return
    if index.get("_class_name") not in FAMILIES:
        yield f"{index.get('_class_name')} is not a pipeline that gad can use", f"use {', '.join(FAMILIES)}"
        return
    for name, (_, kind) in ((k, v) for k, v in index.items() if isinstance(v, list) and v[0] is not None):
        part = folder / name
        if not part.is_dir():
            optional = name in ("safety_checker", "feature_extractor", "image_encoder")
            if not optional:
                yield f"{folder} has no folder {name}/ ({kind})", again
        elif name in ("unet", "transformer", "vae", "text_encoder"):
            yield from faults_of_weights(part, again)


def faults_of_weights(folder: Path, again: str) -> Iterator[tuple[str, str]]:
    """Missing or truncated safetensors of one network, and an unreadable config."""
    try:
        json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        yield f"{folder.name}/ has no readable config.json", again
    wanted = sorted(folder.glob("*.safetensors"))
    indices = sorted(folder.glob("*.safetensors.index.json"))
    for index in indices:
        names = set(json.loads(index.read_text())["weight_map"].values())
        lost = sorted(name for name in names if not (folder / name).exists())
        if lost:
            yield f"{folder.name}/ lacks {', '.join(lost)}", again
    if not wanted:
        old = any(folder.glob("*.bin"))
        yield (
            f"{folder.name}/ has no weights in safetensors",
            "convert its .bin files: save_pretrained(safe_serialization=True)" if old else again,
        )
    for path in wanted:
        if size_by_header(path) != path.stat().st_size:
            yield f"{folder.name}/{path.name} is cut off or broken", again


def size_by_header(path: Path) -> int | None:
    """The size that a safetensors file says it has; None where its header cannot be read."""
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > path.stat().st_size:
                return None
            header = json.loads(file.read(length))
    except (OSError, ValueError):
        return None
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    return 8 + length + max(ends, default=0)


def check_prompts(settings: Recipe) -> Iterator[Finding]:
    """The file of prompts and its column; a data set has to be in the hub's cache."""
    source = settings.noise_pairs.prompts
    if source is None or settings.dry_run:
        yield Finding("ok", "prompts are made here")
        return
    if source.dataset is not None:
        options = {"repo_type": "dataset", "revision": source.revision}
        if not isinstance(try_to_load_from_cache(source.dataset, source.file, **options), str):
            command = f"hf download --repo-type dataset {source.dataset} {source.file}"
            yield Finding("missing", f"prompts: {source.file} of {source.dataset} is not in the hub's cache",
                          f"{command} --revision {source.revision} (into HF_HOME), or set noise_pairs.prompts.file to "
                          "a file of your own")  # fmt: skip
            return
        if len(source.revision) != 40:
            yield Finding("warn", f"prompts: revision {source.revision} of {source.dataset} is not pinned",
                          "set noise_pairs.prompts.revision to a commit's hash")  # fmt: skip
    try:
        count = len(load_prompts(source))
    except ValueError as error:
        yield Finding("missing", f"prompts: {error}", "put a .txt, .csv or .parquet there, or name its column")
        return
    needed = settings.noise_pairs.num_pairs + held_out_prompts(settings.sensitivity)
    if count < needed:
        yield Finding("warn", f"{count} prompts for {needed} samples: some come again, analysis is not held out",
                      "add prompts, or lower noise_pairs.num_pairs")  # fmt: skip
    else:
        yield Finding("ok", f"{count} prompts")


def held_out_prompts(config: SensitivityConfig) -> int:
    """The most prompts that an analysis takes from the end of the list; all of them take the same ones."""
    asked = [config.num_noises]
    asked += [config.seeds.num_prompts] if config.seeds else []
    asked += [config.fidelity.num_images] if config.fidelity else []
    asked += [config.sister.num_samples, config.sister.inversion_samples] if config.sister else []
    return max(asked)


def check_sizes(settings: Recipe) -> Iterator[Finding]:
    """Disk and memory against what the recipe will need; for published teachers, whose sizes are known."""
    if settings.teacher.pretrained is None:
        return
    try:
        architecture = architecture_of(settings.teacher.pretrained)
    except ValueError:
        yield Finding("warn", "no estimate of disk and memory: the teacher is none of the published ones")
        return
    yield from check_disk(settings, architecture)
    yield from check_memory(settings, architecture)


def check_disk(settings: Recipe, architecture: Architecture) -> Iterator[Finding]:
    """Free bytes where the project's data lies."""
    needs = disk_bytes(settings, architecture)
    free, total = shutil.disk_usage(DATA if DATA.exists() else ROOT).free, sum(needs.values())
    parts = ", ".join(f"{name} {value / GB:.1f}" for name, value in needs.items())
    what = f"disk: about {total / GB:.0f} GB needed ({parts}), {free / GB:.0f} GB free"
    do = "" if free > total else f"make room in {DATA}, or lower noise_pairs.num_pairs"
    yield Finding("ok" if free > total else "missing", what, do)


def check_memory(settings: Recipe, architecture: Architecture) -> Iterator[Finding]:
    """Weights, gradients and optimiser states against the device's memory, and the pipeline against the RAM."""
    needs = memory_bytes(settings, architecture)
    cuda = torch.cuda.is_available() and settings.student.device in ("cuda", "auto")
    have = torch.cuda.get_device_properties(0).total_memory if cuda else psutil.virtual_memory().total
    parts = ", ".join(f"{name} {value / GB:.1f}" for name, value in needs.items())
    total, place = sum(needs.values()), "GPU memory" if cuda else "RAM"
    what = f"{place}: {total / GB:.0f} GB of networks ({parts}) and activations, {have / GB:.0f} GB there"
    if total < have:
        yield Finding("ok", what, "")
    elif settings.student.shard:
        yield Finding("warn", f"{what}, parted over the processes", "start enough of them")
    else:
        do = "set student.optimizer: adamw_8bit, or student.shard: true with several GPUs, or use a larger GPU"
        yield Finding("missing", what, do)
    host, ram = host_bytes(settings, architecture), psutil.virtual_memory().total
    if cuda or host > ram:
        what = f"RAM: {host / GB:.0f} GB for the pipeline in float32, {ram / GB:.0f} GB there"
        yield Finding("ok" if host < ram else "missing", what, "" if host < ram else "use a machine with more RAM")


def check_network() -> Finding:
    """Whether the hub can be reached from here."""
    try:
        with socket.create_connection((HUB, 443), timeout=TIMEOUT):
            return Finding("ok", f"{HUB} can be reached: what is missing can be fetched from here")
    except OSError:
        do = "fetch the files above on a machine with a network and copy them to HF_HOME or a local folder here"
        return Finding("warn", f"{HUB} cannot be reached from here", do)
