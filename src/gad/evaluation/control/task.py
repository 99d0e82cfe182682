"""What every control task is given and returns.

A task is a module with three functions:

- ``prepare(teacher, settings, keep) -> inputs``: all that the models share, made once; what is costly through ``keep``
  (:mod:`gad.evaluation.jobs`), so that it outlasts a kill and other processes have it;
- ``run(sampler, inputs, config) -> Answer``: one model's answer, a row per sample; ``config`` is the task's sub-
section;
- ``summarise(rows) -> dict[str, float]``: the headline numbers of one model.

A new task is one such file, its sub-section in ``config/`` and its entry in ``tasks.TASKS``.
"""

from dataclasses import dataclass

import pandas as pd
from torch import Tensor


@dataclass(frozen=True)
class Answer:
    """Per-sample rows and what was made: row i is about ``outputs[i]``."""

    rows: pd.DataFrame
    outputs: Tensor


def rows_of(**columns) -> pd.DataFrame:
    """A table of columns that may be tensors; a single value fills its column."""
    return pd.DataFrame({name: v.tolist() if isinstance(v, Tensor) else v for name, v in columns.items()})
