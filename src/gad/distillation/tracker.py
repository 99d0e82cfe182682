"""Where a training can be monitored while it goes on: files of dvclive, or what accelerate's trackers write.

They are for monitoring: the table of :mod:`gad.distillation.training_log` is the record, and a run that goes on after a
kill tells a tracker everything again.
"""

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np

from gad.runtime.atomic import remove_folder

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from accelerate.tracking import GeneralTracker
    from dvclive import Live

TrackerName = Literal["dvclive", "tensorboard", "wandb"]


@runtime_checkable
class Tracker(Protocol):
    """What is told how a training goes on, in any order of steps."""

    def log_numbers(self, numbers: dict[str, float], step: int) -> None: ...

    def log_image(self, name: str, path: Path, step: int) -> None: ...


@dataclass(frozen=True)
class DvcliveTracker:
    """dvclive's files."""

    live: "Live"

    def log_numbers(self, numbers: dict[str, float], step: int) -> None:
        self.live.step = step
        for name, number in numbers.items():
            self.live.log_metric(name, number)
        self.live.make_summary()

    def log_image(self, name: str, path: Path, step: int) -> None:
        self.live.step = step
        self.live.log_image(f"{name}/{step}.png", path)


@dataclass(frozen=True)
class AccelerateTracker:
    """One of accelerate's trackers."""

    tracker: "GeneralTracker"

    def log_numbers(self, numbers: dict[str, float], step: int) -> None:
        if self.tracker.name == "wandb":  # which leaves out steps that do not rise
            self.tracker.log(numbers | {"step": step})
        else:
            self.tracker.log(numbers, step=step)

    def log_image(self, name: str, path: Path, step: int) -> None:
        from PIL import Image  # here, since only images need it

        pixels = np.asarray(Image.open(path))[None]
        if self.tracker.name == "wandb":
            self.tracker.log_images({f"{name}/{step}": pixels})
        else:
            self.tracker.log_images({name: pixels}, step=step, dataformats="NHWC")


def check_tracker(name: TrackerName) -> None:
    """Raise ValueError, in one line, for a tracker whose package is not installed."""
    if importlib.util.find_spec(name) is None:
        raise ValueError(f"student.tracker {name} needs {name}; run: pip install {name}, or leave the key out")


@contextmanager
def open_tracker(name: TrackerName, folder: Path) -> Iterator[Tracker | None]:
    """The tracker of a run whose files are in ``folder``; those of an earlier run are removed.

    None where dvclive cannot begin, as in a git repository without a commit: training needs none. W&B keeps to files,
    for ``wandb sync``, unless the environment's WANDB_MODE says otherwise.
    """
    if name == "dvclive":
        with _dvclive(folder) as live:
            yield None if live is None else DvcliveTracker(live)
        return
    remove_folder(folder)
    folder.mkdir(parents=True)
    tracker = _tensorboard(folder) if name == "tensorboard" else _wandb(folder)
    try:
        yield AccelerateTracker(tracker)
    finally:
        tracker.finish()


@contextmanager
def _dvclive(folder: Path) -> "Iterator[Live | None]":
    from dvclive import Live  # here, since it takes seconds

    try:
        live = Live(str(folder), report=None, save_dvc_exp=False, dvcyaml=None)
    except Exception as error:  # DVC and git raise many kinds
        print(f"no live metrics in {folder}: {' '.join(str(error).split())[:200]}", file=sys.stderr)
        yield None
        return
    with live:
        yield live


def _tensorboard(folder: Path) -> "GeneralTracker":
    from accelerate.tracking import TensorBoardTracker  # here, since it takes seconds

    tracker = TensorBoardTracker(folder.name, logging_dir=folder.parent)
    tracker.start()
    return tracker


def _wandb(folder: Path) -> "GeneralTracker":
    from accelerate.tracking import WandBTracker  # here, since it takes seconds

    name = "-".join(part for part in folder.parts[-4:] if part != "live")  # recipe, variant and seed
    tracker = WandBTracker("gad", name=name, dir=str(folder), mode=os.environ.get("WANDB_MODE", "offline"))
    tracker.start()
    tracker.tracker.define_metric("*", step_metric="step")
    return tracker
