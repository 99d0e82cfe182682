"""Which options a scheduler class of diffusers takes, read from its source: importing diffusers takes seconds."""

import ast
import difflib
import importlib.util
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import SchedulerMixin


@dataclass(frozen=True)
class SchedulerSignature:
    """A scheduler class and the names of what it takes: its ``options``, and arguments of ``set_timesteps`` and
    ``step``."""

    name: str
    options: tuple[str, ...]
    set_timesteps: tuple[str, ...]
    step: tuple[str, ...]


@cache
def _scheduler_files() -> dict[str, Path]:
    """The file of every scheduler class of diffusers, by its name."""
    found = importlib.util.find_spec("diffusers")
    assert found is not None and found.submodule_search_locations, "diffusers is a dependency of this package"
    folder = Path(found.submodule_search_locations[0]) / "schedulers"
    pattern = re.compile(r"^class (\w+)\([^)]*\bSchedulerMixin\b", flags=re.MULTILINE)
    return {
        name: path
        for path in sorted(folder.rglob("scheduling_*.py"))
        for name in pattern.findall(path.read_text(encoding="utf-8"))
    }


@cache
def scheduler_signature(name: str) -> SchedulerSignature:
    """What the scheduler class of diffusers with that name takes. Raises ValueError for an unknown one."""
    files = _scheduler_files()
    if name not in files:
        raise ValueError(f"diffusers has no scheduler {name!r}{_meant(name, files)}")
    tree = ast.parse(files[name].read_text(encoding="utf-8"))
    kind = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    methods = {node.name: node.args for node in kind.body if isinstance(node, ast.FunctionDef)}

    def taken(method: str) -> tuple[str, ...]:
        if method not in methods:
            return ()
        arguments = methods[method]
        return tuple(each.arg for each in [*arguments.args[1:], *arguments.kwonlyargs])

    return SchedulerSignature(name, taken("__init__"), taken("set_timesteps"), taken("step"))


def scheduler_class(name: str) -> "type[SchedulerMixin]":
    """The scheduler class of diffusers with that name. Raises ValueError, in one line, where there is none here."""
    import diffusers  # here, since it takes seconds

    scheduler_signature(name)
    kind = getattr(diffusers, name, None)
    if not isinstance(kind, type) or not issubclass(kind, diffusers.SchedulerMixin):
        raise ValueError(f"{name} needs a package that is not installed; name another scheduler")
    return kind


def _meant(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""


def scheduler_fault(
    kind: SchedulerSignature, options: Mapping[str, object], times: Mapping[str, object], *, eta: float
) -> str | None:
    """What a scheduler class does not take, in one line: an option, a kind of times (``timesteps``, ``sigmas``), or
    ``eta``. None where it takes all."""
    for name in options:
        if name not in kind.options:
            return f"{kind.name} has no option {name!r}" + (
                _meant(name, kind.options) or f"; it has {', '.join(kind.options)}"
            )
    for name, value in times.items():
        if value is not None and name not in kind.set_timesteps:
            return f"{kind.name} takes no {name} of your own; leave {name} out, or name another scheduler"
    if eta > 0 and "eta" not in kind.step:
        return f"{kind.name} takes no eta; leave eta out, or name DDIMScheduler or TCDScheduler"
    return None
