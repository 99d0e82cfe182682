"""What a control task gives for one model."""

from dataclasses import dataclass

import pandas as pd
from torch import Tensor

SHOWN = 8  # prompts whose images are saved: at 512 px those of all would be gigabytes a model


@dataclass(frozen=True)
class TaskOutput:
    """Per-sample rows and the outputs of the model: row i describes ``outputs[i]``; the last rows may have none."""

    rows: pd.DataFrame
    outputs: Tensor


def task_output_rows(**columns) -> pd.DataFrame:
    """A table of columns that may be tensors; a single value fills its column."""
    return pd.DataFrame({name: v.tolist() if isinstance(v, Tensor) else v for name, v in columns.items()})
