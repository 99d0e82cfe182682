"""Which options a scheduler class of diffusers takes, from its own signature."""

import difflib
import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import SchedulerMixin


def scheduler_class(name: object) -> "type[SchedulerMixin]":
    """The scheduler class of diffusers with that name. Raises ValueError, in one line, where there is none."""
    import diffusers  # here, since it takes seconds

    names = [known for known in dir(diffusers) if known.endswith("Scheduler") and not known.startswith("Flax")]
    if not isinstance(name, str) or not hasattr(diffusers, name):
        raise ValueError(f"diffusers has no scheduler {name!r}{_meant(str(name), names)}")
    kind = getattr(diffusers, name)
    if not isinstance(kind, type) or not issubclass(kind, diffusers.SchedulerMixin):
        if name in names:
            raise ValueError(f"{name} needs a package that is not installed; name another scheduler")
        raise ValueError(f"{name} is no scheduler of diffusers{_meant(name, names)}")
    return kind


def _meant(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""


def scheduler_fault(
    kind: "type[SchedulerMixin]", options: Mapping[str, object], times: Mapping[str, object], *, eta: float
) -> str | None:
    """What a scheduler class does not take, in one line: an option, a kind of times (``timesteps``, ``sigmas``), or
    ``eta``. None where it takes all."""
    known = [name for name in inspect.signature(kind).parameters if name not in ("args", "kwargs")]
    for name in options:
        if name not in known:
            return f"{kind.__name__} has no option {name!r}" + (_meant(name, known) or f"; it has {', '.join(known)}")
    for name, value in times.items():
        if value is not None and name not in inspect.signature(kind.set_timesteps).parameters:
            return f"{kind.__name__} takes no {name} of your own; leave {name} out, or name another scheduler"
    if eta > 0 and "eta" not in inspect.signature(kind.step).parameters:
        return f"{kind.__name__} takes no eta; leave eta out, or name DDIMScheduler or TCDScheduler"
    return None
