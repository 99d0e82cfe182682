"""Where a recipe's keys have an effect: said beside each key that does not always have one.

A key that is set to another value than its default where it has none is refused. One that repeats its default says
nothing wrong, and lets an experiment change the key that decides.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from gad.config.section import Section

HUB_NAME = re.compile(r"\w[\w.-]*(/[\w.-]+)?")  # owner/name; a folder of the project may look so as well


@dataclass(frozen=True)
class OnlyIf:
    """That a key has an effect only where ``holds(recipe, section)``; ``where`` ends the sentence that says so."""

    where: str
    holds: Callable[[Any, Any], bool]


def effect_conditions(section: type[Section], key: str) -> list[OnlyIf]:
    """What has to hold for a key to have an effect; nothing where it always has one."""
    return [rule for rule in section.model_fields[key].metadata if isinstance(rule, OnlyIf)]


def keys_without_effect(recipe: Section) -> Iterator[str]:
    """A line for each key of a recipe that is set to something and has no effect."""
    for place, section in effect_sections(recipe):
        for key, field in type(section).model_fields.items():
            if getattr(section, key) == field.get_default(call_default_factory=True):
                continue
            for rule in effect_conditions(type(section), key):
                if not rule.holds(recipe, section):
                    yield f"{place}{key} has an effect only {rule.where}: leave it out"


def effect_sections(section: Section, place: str = "") -> Iterator[tuple[str, Section]]:
    """A section and those inside it, through lists and mappings, each after the beginning of its keys' places."""
    yield place, section
    for key in type(section).model_fields:
        value = getattr(section, key)
        inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
        for name, part in [(key, value), *((f"{key}.{number}", part) for number, part in inside)]:
            if isinstance(part, Section):
                yield from effect_sections(part, f"{place}{name}.")


def with_paradigm(*names: str) -> OnlyIf:
    """That the base loss is one of those."""
    return OnlyIf(f"with student.paradigm {' or '.join(names)}", lambda recipe, _: recipe.student.paradigm in names)


def with_own(key: str, value: object) -> OnlyIf:
    """That another key of the same section has that value."""
    return OnlyIf(f"with {key} {value}", lambda _, section: getattr(section, key) == value)


def with_any(key: str) -> OnlyIf:
    """That another key of the same section is given."""
    return OnlyIf(f"with {key}", lambda _, section: bool(getattr(section, key)))


ON_IMAGES = OnlyIf("on images, not on the Swiss roll", lambda recipe, _: recipe.teacher.dataset != "swiss_roll")
ON_EMOJI = OnlyIf("on emoji scenes", lambda recipe, _: recipe.teacher.dataset == "emoji")
ON_SWISS_ROLL = OnlyIf("on the Swiss roll", lambda recipe, _: recipe.teacher.dataset == "swiss_roll")
ON_UNETS = OnlyIf("with teacher.backbone unet", lambda recipe, _: recipe.teacher.backbone == "unet")
ANCHORED = with_paradigm("ladd", "tdm", "dmd2", "sid")
WITH_FAKE_SCORE = with_paradigm("tdm", "dmd2", "sid")
TRAINED_TEACHER = OnlyIf(
    "on a teacher that is trained here (dataset emoji without pretrained)",
    lambda recipe, section: section.dataset == "emoji" and section.pretrained is None,
)
MADE_TEACHER = OnlyIf("without pretrained", lambda _, section: section.pretrained is None)
EXTRA_CALL = OnlyIf(
    "with several student steps (noise_pairs.student_steps): one step needs no further call",
    lambda recipe, _: recipe.noise_pairs.student_steps > 1,
)
HUB_TEACHER = OnlyIf(
    "with pretrained, a name on the hub",
    lambda _, section: section.pretrained is not None and bool(HUB_NAME.fullmatch(section.pretrained)),
)
DIFFERENCES = OnlyIf(
    "with method difference, or beside external_models",
    lambda recipe, section: (
        section.method == "difference" or any(entry.kind != "first_step" for entry in recipe.external_models)
    ),
)
FINE_TUNED = OnlyIf(
    "with a classifier that is fine-tuned, not pixels", lambda _, section: section.classifier != "pixels"
)
DATASET_PROMPTS = OnlyIf("without boxes_file", lambda _, section: section.boxes_file is None)
MANY_DIRECTIONS = OnlyIf("with directions_per_noise above 1", lambda _, section: section.directions_per_noise > 1)
SOME_SPECTRA = OnlyIf("with num_spectra above 0", lambda _, section: section.num_spectra > 0)
TABLES = OnlyIf("on a .csv or .parquet file", lambda _, section: not section.file.endswith(".txt"))
