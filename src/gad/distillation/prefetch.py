"""Work of the next step that is done while the present one is computed."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Drawn = TypeVar("Drawn")


class Prefetch(Generic[Drawn]):
    """``draw(step)`` for steps that are mostly asked for one after another, each drawn by a thread beforehand.

    ``draw`` depends on the step alone, so that what it returns is the same as without a thread. Nothing is drawn at
    ``end`` or later unless it is asked for.
    """

    def __init__(self, draw: Callable[[int], Drawn], end: int):
        self.draw, self.end = draw, end
        self.threads = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
        self.waiting: tuple[int, Future[Drawn]] | None = None

    def __call__(self, step: int) -> Drawn:
        waiting, self.waiting = self.waiting, None
        drawn = waiting[1].result() if waiting is not None and waiting[0] == step else self.draw(step)
        if step + 1 < self.end:
            self.waiting = step + 1, self.threads.submit(self.draw, step + 1)
        return drawn
