"""Figures of nothing are left out."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from matplotlib.figure import Figure


def left_out_if_empty(draw: Callable[..., Figure | None]) -> Callable[..., Figure | None]:
    """The figure function, or None where its first argument, a table or outputs by name, is empty.

    So a notebook draws what a recipe measures and leaves out the rest.
    """

    @wraps(draw)
    def drawn(*args: Any, **options: Any) -> Figure | None:
        first = args[0] if args else next(iter(options.values()))
        return draw(*args, **options) if len(first) else None

    return drawn
