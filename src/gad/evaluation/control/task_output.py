"""Protocol of a control task.

A task is a module with three functions:

- ``prepare(teacher, settings, cached) -> inputs``: all that the models share, computed once; ``cached``, a
  :class:`gad.runtime.cache.ResultCache`, stores what is costly, so that it outlasts a kill and other processes read it;
- ``run(sampler, inputs, config) -> TaskOutput``: one model's output, a row per sample; ``config`` is the task's
  sub-section;
- ``summarise(rows) -> dict[str, float]``: the headline numbers of one model.

A new task is one such file, its sub-section in ``config/`` and its entry in ``tasks.TASKS``.
"""

from dataclasses import dataclass

import pandas as pd
from torch import Tensor


@dataclass(frozen=True)
class TaskOutput:
    """Per-sample rows and the outputs of the model: row i describes ``outputs[i]``."""

    rows: pd.DataFrame
    outputs: Tensor


def task_rows(**columns) -> pd.DataFrame:
    """A table of columns that may be tensors; a single value fills its column."""
    return pd.DataFrame({name: v.tolist() if isinstance(v, Tensor) else v for name, v in columns.items()})
