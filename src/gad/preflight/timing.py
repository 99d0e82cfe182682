"""An objective that notes when each training step begins and how much memory the steps before it took.

Trainings that take turns, a step each, are timed side by side: what slows the machine down slows all of them.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Condition

import torch
from torch import nn

from gad.distillation.trainable import Trainable
from gad.runtime.devices import peak_memory_bytes


class Timed:
    """Stands in for ``objective`` in :func:`gad.distillation.training_loop.train`; ``times`` in seconds, one for each
    step begun.

    A step asks for its terms ``accumulate`` times; the first of them is its beginning. ``peak``, in bytes, is that of
    the steps before the last one, which logs: what logging costs is not the step's.
    """

    def __init__(self, objective: Trainable, accumulate: int):
        self.objective, self.accumulate = objective, accumulate
        self.calls, self.peak = 0, 0.0
        self.times: list[float] = []

    def __getattr__(self, attribute):
        return getattr(self.objective, attribute)

    @property
    def auxiliary(self) -> nn.Module | None:
        return self.objective.auxiliary

    def to(self, device):
        self.objective = self.objective.to(device)
        return self

    def terms(self, *inputs):
        if self.calls % self.accumulate == 0:
            self.begin_step(self.calls // self.accumulate)
        self.calls += 1
        return self.objective.terms(*inputs)

    def begin_step(self, step: int) -> None:
        """Note time and memory; what else is to happen at the beginning of a step extends it."""
        self.times.append(_now())
        self.peak = peak_memory_bytes()


def _now() -> float:
    """Seconds, once all that was asked of a GPU is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


class Turns:
    """Threads of which one works at a time, in a fixed order, each until it waits for its next turn."""

    def __init__(self, count: int):
        self.waiting, self.order = Condition(), list(range(count))

    def wait(self, mine: int, *, first: bool = False) -> None:
        """Hand the turn on, but for the ``first`` time, and come back when it is ``mine`` again."""
        with self.waiting:
            if not first:
                self.order.append(self.order.pop(0))
                self.waiting.notify_all()
            self.waiting.wait_for(lambda: self.order[0] == mine)

    def leave(self, mine: int) -> None:
        """Hand the turn on for good."""
        with self.waiting:
            self.order.remove(mine)
            self.waiting.notify_all()


class Alternating(Timed):
    """Waits for its turn at the beginning of each step; ``laps`` are the seconds of the full steps between."""

    def __init__(self, objective: Trainable, accumulate: int, turns: Turns, mine: int):
        super().__init__(objective, accumulate)
        self.turns, self.mine = turns, mine
        self.laps: list[float] = []
        self.start: float | None = None

    def begin_step(self, step: int) -> None:
        if self.start is not None:
            self.laps.append(_now() - self.start)
        self.turns.wait(self.mine)
        self.start = _now()


def time_by_turns(works: Sequence[Callable[[Turns, int], list[float]]]) -> list[list[float]]:
    """What each work returns; all of them run as threads, one at a time. Raises what one of them raises."""
    turns = Turns(len(works))

    def run(mine: int) -> list[float]:
        turns.wait(mine, first=True)
        try:
            return works[mine](turns, mine)
        finally:
            turns.leave(mine)

    with ThreadPoolExecutor(len(works)) as threads:
        return list(threads.map(run, range(len(works))))
