"""Checks of external dependencies: evaluators, external models and the hub."""

import socket
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from gad.config import ExternalStudent, Recipe
from gad.config.fidelity import EFFLITE0, PIXELS
from gad.config.starting_student import NAME
from gad.data.emoji.clip import load_emoji_clip
from gad.data.emoji.detector import load_emoji_detector
from gad.evaluation.fidelity.real_images import real_image_files
from gad.evaluation.sensitivity.seed_classifiers import seed_classifier_network
from gad.metrics.clip_encoder import clip_encoder_network
from gad.metrics.detector_loading import object_detector_network
from gad.metrics.image_features import image_feature_network
from gad.models.external_pipeline import external_latent_shape, load_external_pipeline
from gad.preflight.finding import Finding
from gad.runtime.fingerprint import files_below
from gad.runtime.paths import EMOJI, project_path

README = "README.md"  # a LoRA's repository has no config


HUB = "huggingface.co"
TIMEOUT = 3.0  # seconds


def check_evaluators(settings: Recipe) -> Iterator[Finding]:
    """The models that scores come from, loaded without their weights."""
    if settings.teacher.dataset == "emoji":
        yield _emoji_evaluators()
    if settings.sensitivity.fidelity and settings.sensitivity.fidelity.data is not None:
        try:
            real_image_files(settings.sensitivity.fidelity)
        except ValueError as error:
            yield Finding("missing", str(error), "put images there, at any depth")
    for key, (source, load) in _evaluators_of(settings).items():
        if not _model_here(source):
            what = f"{key}: {source} is neither a folder with files nor in the hub's cache"
            yield Finding("missing", what, how_to_fetch_external_model(source))
        elif load is not None:
            try:
                load(source, shapes_only=True, local_files_only=True)
            except ValueError as error:
                yield Finding("missing", f"{key}: {error}", f"name another, or {how_to_fetch_external_model(source)}")


def _emoji_evaluators() -> Finding:
    """Whether the dataset's own evaluators are there and whole; they are small, so they are loaded."""
    try:
        load_emoji_detector()
        load_emoji_clip(EMOJI / "evaluators" / "clip")
    except (ValueError, OSError) as error:
        return Finding("missing", f"evaluators of the emoji dataset: {error}", "dvc repro dataset")
    return Finding("ok", "evaluators of the emoji dataset")


def _evaluators_of(settings: Recipe) -> dict[str, tuple[str, Callable | None]]:
    """Every evaluator that the recipe names, a folder or a name on the hub, and how it is loaded, by its key."""
    control, measures = settings.control, settings.sensitivity
    named: dict[str, tuple[str | None, Callable | None]] = {"control.clip": (control.clip, clip_encoder_network)}
    if control.layout:
        named["control.layout.detector"] = (control.layout.detector, object_detector_network)
    if control.composition:
        named["control.composition.detector"] = (control.composition.detector, object_detector_network)
    if measures.seeds and measures.seeds.classifier != PIXELS:
        classifier = partial(seed_classifier_network, num_labels=measures.seeds.num_seeds)
        named["sensitivity.seeds.classifier"] = (measures.seeds.classifier, classifier)
    if measures.fidelity:
        for name, score in measures.fidelity.scores.items():
            named[f"sensitivity.fidelity.scores.{name}"] = (
                score.model,
                partial(clip_encoder_network, revision=score.revision),
            )
            named[f"sensitivity.fidelity.scores.{name}.tokenizer"] = (score.tokenizer, None)
        if measures.fidelity.features != EFFLITE0:
            named["sensitivity.fidelity.features"] = (measures.fidelity.features, image_feature_network)
    return {key: (source, load) for key, (source, load) in named.items() if source is not None}


def check_external_students(settings: Recipe) -> Iterator[Finding]:
    """The external models, the student that training starts from, and the pipelines whose parts they use: all that a
    run refuses, without their weights."""
    entries = [entry for entry in settings.external_models if entry.kind != "first_step"]
    for student in [*entries, *_starting_student(settings)]:
        lacking = False
        for source, revision in ((student.source, student.revision), (student.base, student.base_revision)):
            if source is not None and not _model_here(source, revision):
                lacking = True
                what = f"students, {student.name}: {source} is neither a folder with files nor in the hub's cache"
                yield Finding("missing", what, f"{how_to_fetch_external_model(source, revision)}, or drop the entry")
        if not lacking:
            yield from _try_external_student(student)


def _starting_student(settings: Recipe) -> list[ExternalStudent]:
    """The student that training starts from, on the recipe's own teacher, as an external model; none without one."""
    start, teacher = settings.student.start_student, settings.teacher
    if start is None:
        return []
    entry = start.as_external(settings.noise_pairs.student_steps)
    base = {} if start.kind == "full" else {"base": teacher.pretrained, "base_revision": teacher.revision}
    return [entry.model_copy(update=base)]


def _try_external_student(student: ExternalStudent) -> Iterator[Finding]:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        try:
            external_latent_shape(load_external_pipeline(student, shapes_only=True, fetch=False), student)
        except ValueError as error:
            place = student.name if student.name == NAME else "the entry in external_models, or drop it"
            yield Finding("missing", f"students, {error}", f"correct {place}")
    for message in (str(warning.message) for warning in warned):
        if message.startswith(f"{student.name}: "):
            what, _, do = message.partition("; ")
            yield Finding("warn", f"students, {what}", do)


def _holds_files(path: Path) -> bool:
    """Whether a path is a file or a folder with some; links to files that are not here do not count."""
    return path.is_file() or bool(files_below(path))


def _model_here(source: str, revision: str | None = None) -> bool:
    """Whether a model's folder, or any of its index files in the hub's cache, is on this machine."""
    if project_path(source).exists():
        return _holds_files(project_path(source))
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
