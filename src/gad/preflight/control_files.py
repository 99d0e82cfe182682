"""Checks of the files of prompts and boxes that control tasks read, and of the detectors that know their nouns."""

from collections.abc import Callable, Iterator
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from gad.config import Recipe
from gad.config.control import CompositionConfig, DiversityConfig, NoiseOptimisationConfig, NoiseQueryConfig
from gad.config.layout import LayoutConfig
from gad.evaluation.control.composition.composition import NO_CLIP, composition_prompts
from gad.evaluation.control.layout.boxdiff_file import boxdiff_objects_without_name, boxdiff_two_objects, read_boxdiff
from gad.evaluation.control.prompts import control_prompts
from gad.preflight.finding import Finding
from gad.runtime.files import read_json
from gad.runtime.paths import project_path


def check_control_files(settings: Recipe) -> Iterator[Finding]:
    """The files of prompts and boxes that control tasks read, and whether they hold what is asked for."""
    kinds: dict[str, tuple[str, str, Callable[..., Iterator[Finding]]]] = {
        "layout": ("boxes_file", "BoxDiff's file of prompts and boxes", _check_boxes),
        "composition": ("prompts", "GenEval's evaluation_metadata.jsonl", _check_composition),
    }
    for name in settings.control.tasks:
        key, kind, check = kinds.get(name, ("prompts", "a .txt, or a .csv with column prompt", _check_prompts))
        section = getattr(settings.control, name)
        path = getattr(section, key)
        if path is None:
            continue
        if not project_path(path).is_file():
            yield Finding("missing", f"control.{name}.{key}: there is no file {path}", f"put {kind} there")
            continue
        try:
            yield from check(section, settings.control.clip)
        except ValueError as error:
            yield Finding("missing", f"control.{name}.{key}: {error}", f"put {kind} there, or ask for fewer")


def _check_prompts(
    section: DiversityConfig | NoiseQueryConfig | NoiseOptimisationConfig, clip: str | None
) -> Iterator[Finding]:
    control_prompts(
        section.num_queries if isinstance(section, NoiseQueryConfig) else section.num_prompts, section.prompts
    )
    yield from ()


def _check_composition(section: CompositionConfig, clip: str | None) -> Iterator[Finding]:
    prompts = composition_prompts(section)
    if clip is None and any(prompt.names_colour for prompt in prompts):
        yield Finding("missing", f"control.composition.prompts: {NO_CLIP}", "or take the colours out")
    nouns = {section.labels.get(noun, noun) for prompt in prompts for noun in prompt.nouns}
    yield from check_detector_labels(
        section.detector, nouns, "composition", "say what it calls them in control.composition.labels"
    )


def _check_boxes(section: LayoutConfig, clip: str | None) -> Iterator[Finding]:
    path, detector = section.boxes_file, section.detector
    assert path is not None and detector is not None, "both are given, or none"
    yield from _unnamed_objects(project_path(path))
    asked = boxdiff_two_objects(read_boxdiff(project_path(path)), section.num_prompts, seed=section.seed)
    nouns = {thing.noun for prompt in asked for thing in prompt.targets}
    yield from check_detector_labels(detector, nouns, "layout", "name one that has, or a boxes_file without them")


def _unnamed_objects(path: Path) -> Iterator[Finding]:
    """Whether the file has boxes that are left out, since their prompts do not name the object."""
    left_out = boxdiff_objects_without_name(path)
    if left_out:
        what = f"control.layout.boxes_file: {len(left_out)} boxes are of objects that their prompts do not name"
        yield Finding("warn", f"{what}, first {left_out[0]}", "they are left out; name the objects as the prompts do")


def check_detector_labels(detector: str, nouns: set[str], task: str, do: str) -> Iterator[Finding]:
    """Whether a detector that is here can find what a task asks for: found out now, not behind all other tasks."""
    config = project_path(detector) / "config.json"
    if not config.is_file():
        try:
            config = try_to_load_from_cache(detector, "config.json")
        except ValueError:  # no hub name at all
            return
    if not isinstance(config, str | Path):
        return  # another line reports that it is missing
    unknown = sorted(nouns - set(read_json(config).get("id2label", {}).values()))
    if unknown:
        yield Finding("missing", f"control.{task}.detector: {detector} has no label for {', '.join(unknown)}", do)
