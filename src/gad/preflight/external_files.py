"""Checks of external dependencies: evaluators, external models, files of prompts and boxes."""

import socket
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from gad.config import Recipe
from gad.config.fidelity import EFFLITE0, PIXELS
from gad.evaluation.control.layout.boxdiff_file import boxdiff_two_objects, read_boxdiff
from gad.evaluation.control.prompts import control_prompts
from gad.preflight.finding import Finding
from gad.runtime.files import read_json
from gad.runtime.paths import EMOJI, ROOT

README = "README.md"  # a LoRA's repository has no config


HUB = "huggingface.co"
TIMEOUT = 3.0  # seconds


def check_evaluators(settings: Recipe) -> Iterator[Finding]:
    """The models that scores come from."""
    if settings.teacher.dataset == "emoji":
        found = _holds_files(EMOJI / "evaluators")
        yield Finding(
            "ok" if found else "missing", "evaluators of the emoji dataset", "" if found else "dvc repro dataset"
        )
    for key, source in _evaluators_of(settings).items():
        if not _model_here(source):
            what = f"{key}: {source} is neither a folder with files nor in the hub's cache"
            yield Finding("missing", what, how_to_fetch_external_model(source))


def _evaluators_of(settings: Recipe) -> dict[str, str]:
    """Every evaluator that the recipe names, a folder or a name on the hub, by its key."""
    control, measures = settings.control, settings.sensitivity
    named = {"control.clip": control.clip}
    if control.layout:
        named["control.layout.detector"] = control.layout.detector
    if measures.seeds and measures.seeds.classifier != PIXELS:
        named["sensitivity.seeds.classifier"] = measures.seeds.classifier
    if measures.fidelity:
        scores = measures.fidelity.scores.items()
        for name, score in scores:
            named[f"sensitivity.fidelity.scores.{name}"] = score.model
            named[f"sensitivity.fidelity.scores.{name}.tokenizer"] = score.tokenizer
        if measures.fidelity.features != EFFLITE0:
            named["sensitivity.fidelity.features"] = measures.fidelity.features
    return {key: source for key, source in named.items() if source is not None}


def check_external_students(settings: Recipe) -> Iterator[Finding]:
    """The external models and the pipelines whose parts they use."""
    for student in settings.external_models:
        for source, revision in ((student.source, student.revision), (student.base, student.base_revision)):
            if source is not None and not _model_here(source, revision):
                what = f"students, {student.name}: {source} is neither a folder with files nor in the hub's cache"
                yield Finding("missing", what, f"{how_to_fetch_external_model(source, revision)}, or drop the entry")


def check_control_files(settings: Recipe) -> Iterator[Finding]:
    """The files of prompts and boxes that control tasks read, and whether they hold what is asked for."""
    for name in settings.control.tasks:
        key = "boxes_file" if name == "layout" else "prompts"
        section = getattr(settings.control, name)
        path = getattr(section, key)
        if path is None:
            continue
        kind = "BoxDiff's file of prompts and boxes" if name == "layout" else "a .txt, or a .csv with column prompt"
        if not (ROOT / path).is_file():
            yield Finding("missing", f"control.{name}.{key}: there is no file {path}", f"put {kind} there")
            continue
        try:
            if name == "layout":
                asked = boxdiff_two_objects(read_boxdiff(ROOT / path), section.num_prompts, seed=section.seed)
                yield from check_detector_labels(
                    section.detector, {thing.noun for prompt in asked for thing in prompt.targets}
                )
            else:
                control_prompts(section.num_queries if name == "noise_query" else section.num_prompts, path)
        except ValueError as error:
            yield Finding("missing", f"control.{name}.{key}: {error}", f"put {kind} there, or ask for fewer")


def check_detector_labels(detector: str, nouns: set[str]) -> Iterator[Finding]:
    """Whether a detector that is here can find what is asked for: found out now, not behind all other tasks."""
    config = ROOT / detector / "config.json"
    if not config.is_file():
        try:
            config = try_to_load_from_cache(detector, "config.json")
        except ValueError:  # no hub name at all
            return
    if not isinstance(config, str | Path):
        return  # another line reports that it is missing
    unknown = sorted(nouns - set(read_json(config).get("id2label", {}).values()))
    if unknown:
        what = f"control.layout.detector: {detector} has no label for {', '.join(unknown)}"
        yield Finding("missing", what, "name one that has, or a boxes_file without them")


def _holds_files(path: Path) -> bool:
    """Whether a path is a file or a folder with some; links to files that are not here do not count."""
    return any(place.is_file() for place in (path, *path.rglob("*")))


def _model_here(source: str, revision: str | None = None) -> bool:
    """Whether a model's folder, or any of its index files in the hub's cache, is on this machine."""
    if (ROOT / source).exists():
        return _holds_files(ROOT / source)
    names = ("model_index.json", "config.json", "unet/config.json", "transformer/config.json", README)
    try:
        return any(isinstance(try_to_load_from_cache(source, name, revision=revision), str) for name in names)
    except ValueError:  # no hub name at all
        return False


def how_to_fetch_external_model(source: str, revision: str | None = None) -> str:
    """How a model is put in its place; names under ``models/`` are folders that only the user can make."""
    if source.startswith("models/"):
        return f"put its folder at {source}"
    return f"hf download {source}{f' --revision {revision}' if revision else ''} (into HF_HOME)"


def check_hub_reachable() -> Finding:
    """Whether the hub can be reached from here."""
    try:
        with socket.create_connection((HUB, 443), timeout=TIMEOUT):
            return Finding("ok", f"{HUB} can be reached: what is missing can be fetched from here")
    except OSError:
        do = "fetch the files above on a machine with a network and copy them to HF_HOME or a local folder here"
        return Finding("warn", f"{HUB} cannot be reached from here", do)
