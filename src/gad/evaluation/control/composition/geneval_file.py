"""GenEval's file of prompts and what their images must show: ``evaluation_metadata.jsonl``, a JSON object per line.

``{"tag": "counting", "prompt": "a photo of two dogs", "include": [{"class": "dog", "count": 2}], "exclude": [{"class":
"dog", "count": 3}]}``. An entry of ``include`` may have a ``color``, and a ``position``: a relation and the number of
the earlier entry that it is to (Ghosh, Hajishirzi and Schmidt 2023, arXiv:2310.11513).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gad.runtime.text import lines_of_text, read_text_file

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
RELATIONS = ("left of", "right of", "above", "below")


@dataclass(frozen=True)
class Requirement:
    """``count`` objects of a noun, of a colour, and with a ``relation`` to those of requirement number ``target``."""

    noun: str
    count: int
    colour: str | None = None
    relation: str | None = None
    target: int = 0


@dataclass(frozen=True)
class CompositionPrompt:
    """A caption, the kind of composition that it is about, and what an image of it must and must not show."""

    caption: str
    tag: str
    include: tuple[Requirement, ...]
    exclude: tuple[Requirement, ...] = ()

    @property
    def nouns(self) -> list[str]:
        return [asked.noun for asked in (*self.include, *self.exclude)]

    @property
    def names_colour(self) -> bool:
        return any(asked.colour for asked in self.include)


def read_geneval(path: Path) -> list[CompositionPrompt]:
    """The prompts of the file, in order.

    Raises ValueError, in one line with the file and the number of the line, for a file that is missing or no such list,
    a missing key, a count that is no whole number above 0, an unknown colour or relation, and a relation to an entry
    that is not earlier.
    """
    if not path.is_file():
        raise ValueError(f"there is no GenEval file {path}")
    found = []
    for number, line in enumerate(lines_of_text(read_text_file(path, "GenEval file")), 1):
        if line.strip():
            try:
                found.append(_prompt(json.loads(line)))
            except json.JSONDecodeError as error:
                raise ValueError(f"GenEval file {path}, line {number}: no JSON, {error.msg}") from error
            except ValueError as error:
                raise ValueError(f"GenEval file {path}, line {number}: {error}") from error
    if not found:
        raise ValueError(f"GenEval file {path} holds no prompts")
    return found


def evenly_spaced_prompts(prompts: Sequence[CompositionPrompt], count: int | None) -> list[CompositionPrompt]:
    """``count`` of them from beginning to end, since the file is sorted by tag; all for None.

    Raises ValueError, in one line, where there are fewer.
    """
    count = len(prompts) if count is None else count
    if count > len(prompts):
        raise ValueError(f"the GenEval file holds {len(prompts)} prompts, {count} are asked for")
    return [prompts[number * len(prompts) // count] for number in range(count)]


def _prompt(entry: Any) -> CompositionPrompt:
    if not isinstance(entry, dict):
        raise ValueError(f"a {type(entry).__name__}; expected an object with tag, prompt and include")
    for key, kind in (("tag", str), ("prompt", str), ("include", list)):
        if not isinstance(entry.get(key), kind) or not entry[key]:
            raise ValueError(f"{key!r} is missing, empty or no {'list' if kind is list else 'text'}")
    if not isinstance(entry.get("exclude", []), list):
        raise ValueError("'exclude' is no list")
    parts = {
        key: tuple(_requirement(each, number) for number, each in enumerate(entry.get(key, ())))
        for key in ("include", "exclude")
    }
    return CompositionPrompt(entry["prompt"], entry["tag"], parts["include"], parts["exclude"])


def _requirement(entry: Any, number: int) -> Requirement:
    if not (isinstance(entry, dict) and isinstance(entry.get("class"), str)):
        raise ValueError(f"entry {number} has no 'class'")
    count, colour = entry.get("count"), entry.get("color")
    if type(count) is not int or count < 1:
        raise ValueError(f"the count of {entry['class']!r} is {count!r}; a whole number above 0 is needed")
    if colour is not None and colour not in COLOURS:
        raise ValueError(f"unknown color {colour!r} of {entry['class']!r}; known: {', '.join(COLOURS)}")
    if entry.get("position") is None:
        return Requirement(entry["class"], count, colour)
    return Requirement(entry["class"], count, colour, *_position(entry["position"], entry["class"], number))


def _position(position: Any, noun: str, number: int) -> tuple[str, int]:
    if not (isinstance(position, list) and len(position) == 2):
        raise ValueError(f"the position of {noun!r} is {position!r}; a relation and the number of an entry are needed")
    relation, target = position
    if relation not in RELATIONS:
        raise ValueError(f"unknown position {relation!r} of {noun!r}; known: {', '.join(RELATIONS)}")
    if type(target) is not int or target not in range(number):
        raise ValueError(f"the position of {noun!r} is to entry {target!r}, which is not before it")
    return relation, target
