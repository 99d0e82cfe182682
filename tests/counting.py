"""Slow work that leaves a trace, for processes that are to be killed."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Count:
    """Counts to ``end``, a hundred a second, and writes how far it is into a file of its item."""

    folder: Path
    end: int

    def __call__(self, item: str) -> Iterator[int]:
        for number in range(self.end):
            part = self.folder / f"{item}.part"
            part.write_text(str(number))
            part.replace(self.folder / item)  # a kill between the two leaves the number before
            yield number
            time.sleep(0.01)


def divide(item: int) -> Iterator[float]:
    """What cannot be divided by raises its own error; one below it an error that no process can send."""
    yield 1.0
    if item < 0:
        raise type("Unknown", (Exception,), {})("no process knows it")
    yield 1 / item
