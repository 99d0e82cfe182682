"""The record of the student stage: the last logged values of a variant."""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
from tqdm import tqdm

from gad.config import StudentConfig
from gad.distillation.validation_log import CURVES, read_validation_image_rows
from gad.models.stage import Stage
from gad.runtime.files import write_json
from gad.runtime.paths import metrics_file


class SeedProgress:
    """Steps of several seeds on one bar, whose reports come in any order. Its rate is of steps that are made now.

    ``finished`` tells the seeds that an earlier run has finished; it is asked at the first report, when what is not
    this training's work is gone.
    """

    def __init__(self, bar: tqdm, num_steps: int, log_every: int, finished: Callable[[], Iterable[int]]):
        self.bar, self.num_steps, self.log_every, self.finished = bar, num_steps, log_every, finished
        self.steps: dict[int, int] = {}  # by seed

    def report(self, seed: int, step: int) -> None:
        """Count a seed's steps up to ``step``; those before its first report come from a checkpoint."""
        if not self.steps:
            self.steps = {other: self.num_steps for other in self.finished() if other != seed}
            self._skip(sum(self.steps.values()))
        if seed not in self.steps:
            self.steps[seed] = max(0, step - self.log_every)
            self._skip(self.steps[seed])
        self.bar.update(max(0, step - self.steps[seed]))
        self.steps[seed] = max(step, self.steps[seed])

    def _skip(self, steps: int) -> None:
        """Show steps as done that an earlier run has made; tqdm's rate leaves out the initial ones."""
        self.bar.initial += steps
        self.bar.n += steps
        self.bar.last_print_n += steps


def validation_curves(stage: Stage, variant: str) -> pd.DataFrame:
    """The held-out curves of all seeds, a row per seed and validated step; empty where the recipe asks for none."""
    path = stage.folder / variant / CURVES
    return pd.read_csv(path).assign(variant=variant) if path.exists() else pd.DataFrame()


def validation_images(stage: Stage[StudentConfig], variant: str) -> dict[str, np.ndarray]:
    """Rows of images of the first seed at the validation noises that are shown; empty where there are none."""
    return read_validation_image_rows(stage.folder / variant, stage.section.seeds_of(variant)[0])


def record_student(stage: Stage, variant: str, log: pd.DataFrame) -> pd.DataFrame:
    """Write ``data/<recipe>/metrics/student-<variant>.json``, the last logged values as means over seeds; returns the
    last row of each seed."""
    last = log.groupby("seed").last().drop(columns="variant")
    metrics = {"final": last.mean().to_dict(), "seeds": list(last.index)}
    write_json(metrics_file(stage.recipe, f"student-{variant}"), metrics)
    return last
