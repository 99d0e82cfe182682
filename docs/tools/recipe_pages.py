"""The page of recipe keys, from the pydantic models and the comments beside their fields."""

import ast
import inspect
import io
import tokenize
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen, MultipleOf
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from gad.config import Recipe
from gad.config.section import Section
from gad.config.variants import VARIANTS

BOUNDS = {
    Ge: ("≥", "ge"),
    Gt: (">", "gt"),
    Le: ("≤", "le"),
    Lt: ("<", "lt"),
    MultipleOf: ("multiple of", "multiple_of"),
}
HEAD = """# Recipe keys

A recipe is one YAML file in `pipelines/recipes/`; its keys are checked before anything runs.
An unknown key, a wrong type or an impossible value is refused in one line that names the file and the key.
This page is made from the models that check recipes (`src/gad/config`).

How to write one: [Write a recipe](../howto/recipe.md).
"""


def recipe_page() -> str:
    """A table for the whole recipe and one for each section and sub-section."""
    lines = [HEAD, "## The whole recipe", "", *_table(Recipe, "")]
    for path, model in _sections(Recipe, ""):
        lines += [f"## `{path}`", "", _first_line(model), "", *_table(model, path)]
    lines += ["## Variants", "", "Students that `variants` can name, and how each differs from the baseline:", ""]
    lines += ["| variant | batch | term with a weight | pointwise anchor | training |", "|---|---|---|---|---|"]
    for name, variant in VARIANTS.items():
        batch = "pairs" if variant.paired else "independent noises"
        longer = "1.5x (`equal_time_factor`)" if variant.longer else "none" if variant.untrained else "`num_steps`"
        anchor = "at the first step" if variant.first_step else "yes" if variant.anchored else ""
        lines.append(f"| `{name}` | {batch} | {variant.weighted_term or ''} | {anchor} | {longer} |")
    return "\n".join(lines) + "\n"


def _first_line(model: type[Section]) -> str:
    return (inspect.getdoc(model) or "").partition("\n")[0]


def _models_in(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, Section) else []
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _sections(model: type[Section], prefix: str):
    for name, field in model.model_fields.items():
        for inner in _models_in(field.annotation):
            path = f"{prefix}{name}"
            yield path, inner
            yield from _sections(inner, f"{path}.")


def _table(model: type[Section], path: str) -> list[str]:
    comments = field_comments(model)
    rows = ["| key | values | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        if model is Recipe and name == "name":  # its file's
            continue
        inner = _models_in(field.annotation)
        anchor = f"{path}.{name}".strip(".").replace(".", "").replace("_", "_").lower()
        values = f"[section](#{anchor})" if inner else values_of(field)
        if inner and get_origin(field.annotation) is list:
            values = f"list of [sections](#{anchor})"
        meaning = comments.get(name, "") or (_first_line(inner[0]) if inner else "")
        rows.append(f"| `{name}` | {values} | {_default(field)} | {meaning.replace('|', chr(92) + '|')} |")
    return [*rows, ""]


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined and field.default_factory is None:
        return "**required**"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def values_of(field: FieldInfo) -> str:
    """The values that a key may have, in words."""
    return _values(field.annotation, field.metadata)


def _values(annotation: Any, metadata: tuple | list = ()) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = [bound for part in parts[1:] for bound in getattr(part, "metadata", [part])]
        return _values(parts[0], [*inner, *metadata])
    if origin in (Union, UnionType):
        return " or ".join(_values(part, metadata) for part in parts if part is not NoneType)
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin is list:
        return f"list of {_values(parts[0])}{_bounds(metadata)}"
    if origin is dict:
        return f"mapping: {_values(parts[0])} → {_values(parts[1])}"
    names = {int: "whole number", float: "number", str: "text", bool: "`true`, `false`"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation))) + _bounds(metadata)


def _bounds(metadata: tuple | list) -> str:
    found = [
        f"{sign} {getattr(bound, name):g}"
        for bound in metadata
        for kind, (sign, name) in BOUNDS.items()
        if isinstance(bound, kind)
    ]
    found += [f"at least {bound.min_length}" for bound in metadata if isinstance(bound, MinLen)]
    found += [f"at most {bound.max_length}" for bound in metadata if isinstance(bound, MaxLen)]
    return f" {' and '.join(found)}" if found else ""


def field_comments(model: type[Section]) -> dict[str, str]:
    """The comment of each field: above it, on its lines, or below it on lines of their own before the next field."""
    source = inspect.getsource(model)
    tree = ast.parse(source).body[0]
    fields = [node for node in tree.body if isinstance(node, ast.AnnAssign)]
    others = [node.lineno for node in tree.body if not isinstance(node, ast.AnnAssign)]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {
        t.start[0]: (t.string.lstrip("# "), t.line.strip().startswith("#"))
        for t in tokens
        if t.type == tokenize.COMMENT
    }
    found: dict[str, str] = {}
    for number, node in enumerate(fields):
        words = [
            comments[line][0] for line in range(node.lineno, (node.end_lineno or node.lineno) + 1) if line in comments
        ]
        after = [line for line in [*others, *(later.lineno for later in fields[number + 1 :])] if line > node.lineno]
        stop, line, own = min(after, default=10**6), (node.end_lineno or node.lineno) + 1, []
        while line < stop and line in comments:
            own.append(comments[line][0])
            line += 1
        if words:  # the comment beside it goes on below
            words += own
        above, line = [], node.lineno - 1
        while line in comments and comments[line][1]:
            above.insert(0, comments[line][0])
            line -= 1
        before = fields[number - 1] if number else None
        if above and before is not None and (before.end_lineno or 0) == line and (before.end_lineno or 0) in comments:
            above = []  # they belong to the field before
        found[node.target.id] = " ".join([*above, *words])
    return found
