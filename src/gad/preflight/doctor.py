"""What is missing before a recipe can run, found out in seconds: a line for each thing, with what to do."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import torch
from huggingface_hub import try_to_load_from_cache

from gad.config import Recipe
from gad.data.prompts import load_prompts
from gad.preflight.control_files import check_control_files
from gad.preflight.evaluation_size import check_evaluation_size
from gad.preflight.external_files import (
    check_evaluators,
    check_external_students,
    check_hub_reachable,
    how_to_fetch_external_model,
)
from gad.preflight.finding import Finding
from gad.preflight.pipeline_folder import faults_of_pipeline
from gad.preflight.rounding import check_amplification, check_rounding
from gad.preflight.sizes import check_sizes
from gad.runtime.distributed import distributed_processes_per_node
from gad.runtime.paths import project_path


def examine_recipe(settings: Recipe) -> Iterator[Finding]:
    """Every check of a recipe in turn. Nothing is fetched, and the network is asked only if something is missing."""
    yield Finding("ok", f"recipe {settings.name} is valid")
    checks = (
        _check_device,
        _check_teacher,
        _check_prompts,
        check_rounding,
        check_amplification,
        check_sizes,
        check_evaluation_size,
        check_evaluators,
        check_control_files,
        check_external_students,
    )
    lacking = False
    for check in checks:
        for finding in _without_refusals(check(settings)):
            lacking |= finding.state == "missing"
            yield finding
    if lacking:
        yield check_hub_reachable()


def _without_refusals(findings: Iterator[Finding]) -> Iterator[Finding]:
    """The findings; a path that the system refuses ends them with one more."""
    try:
        yield from findings
    except OSError as error:
        yield Finding("missing", f"{error.filename}: {error.strerror}", "make it readable, or name another there")


def _check_device(settings: Recipe) -> Iterator[Finding]:
    """The devices that the recipe names, and what they can do."""
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True, "auto": True}
    for section in ("noise_pairs", "student", "sensitivity", "control"):
        device = getattr(settings, section).device
        if not found[device]:
            yield Finding("missing", f"{section}.device {device} is not here", "use cpu or auto, or another machine")
    best = next(name for name in ("cuda", "mps", "cpu") if found[name])
    if settings.student.dtype == "float16" and (best != "cuda" or settings.student.device == "cpu"):
        yield Finding("warn", "float16 without a CUDA GPU is slow", "set student.dtype: float32, or use a GPU")
    try:
        settings.student.parts_of(distributed_processes_per_node())
    except ValueError as error:
        yield Finding("missing", f"student: {error}", "launch fewer processes, or set student.batch_size or accumulate")
    if settings.student.optimizer == "adamw_8bit" and importlib.util.find_spec("bitsandbytes") is None:
        yield Finding("missing", "optimizer adamw_8bit needs bitsandbytes", "pip install bitsandbytes")
    tracker = settings.student.tracker
    if importlib.util.find_spec(tracker) is None:
        yield Finding("missing", f"student.tracker {tracker} is not installed", f"pip install {tracker}")
    name = torch.cuda.get_device_name() if found["cuda"] else best
    enough = best != "cpu" or settings.teacher.dataset != "prompts"
    yield Finding("ok" if enough else "warn", f"device found: {name}", "" if enough else "full size needs a GPU")


def _fetch_command(source: str, revision: str | None) -> str:
    """How a teacher is fetched, here or on a machine with a network whose files are then carried over."""
    return f"{how_to_fetch_external_model(source, revision)}, or with --local-dir DIR and teacher.pretrained: DIR"


def _check_teacher(settings: Recipe) -> Iterator[Finding]:
    """The teacher's folder, or its place in the hub's cache, with all its files whole."""
    section = settings.teacher
    if section.pretrained is None:
        yield Finding("ok", "the teacher is made here")
        return
    folder = _teacher_folder(section.pretrained, section.revision)
    if folder is None and settings.dry_run:
        yield Finding("ok", "dry run: no weights are read")
        return
    if folder is None:
        command = _fetch_command(section.pretrained, section.revision)
        yield Finding("missing", f"teacher {section.pretrained} is neither a folder nor in the hub's cache", command)
        return
    if not project_path(section.pretrained).is_dir() and section.revision is None:
        yield Finding("warn", f"teacher {section.pretrained} is not pinned", "set teacher.revision to a commit's hash")
    faults = list(faults_of_pipeline(folder, side=section.latent_side))
    yield from (Finding("missing", f"teacher in {folder}: {what}", do) for what, do in faults)
    if not faults:
        yield Finding("ok", f"teacher in {folder}")


def _teacher_folder(source: str, revision: str | None) -> Path | None:
    """Where the teacher's files are on this machine, or None."""
    if project_path(source).is_dir():
        return project_path(source)
    try:
        found = try_to_load_from_cache(source, "model_index.json", revision=revision)
    except ValueError:  # no hub name at all
        return None
    return Path(found).parent if isinstance(found, str) else None


def _check_prompts(settings: Recipe) -> Iterator[Finding]:
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
        if len(source.revision or "") != 40:
            yield Finding("warn", f"prompts: revision {source.revision} of {source.dataset} is not pinned",
                          "set noise_pairs.prompts.revision to a commit's hash")  # fmt: skip
    try:
        count = len(load_prompts(source))
    except ValueError as error:
        yield Finding("missing", f"prompts: {error}", "put a .txt, .csv or .parquet there, or name its column")
        return
    needed = settings.noise_pairs.num_pairs + settings.sensitivity.num_held_out_prompts
    if count < needed:
        yield Finding("warn", f"{count} prompts for {needed} samples: some come again, analysis is not held out",
                      "add prompts, or lower noise_pairs.num_pairs")  # fmt: skip
    else:
        yield Finding("ok", f"{count} prompts")
