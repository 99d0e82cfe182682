"""The record of the student stage: the last logged values of a variant."""

import pandas as pd

from gad.models.stage import Stage
from gad.runtime.files import write_json
from gad.runtime.paths import metrics_file


def record_student(stage: Stage, variant: str, log: pd.DataFrame) -> pd.DataFrame:
    """Write ``data/<recipe>/metrics/student-<variant>.json``, the last logged values as means over seeds; returns the
    last row of each seed."""
    last = log.groupby("seed").last().drop(columns="variant")
    metrics = {"final": last.mean().to_dict(), "seeds": list(last.index)}
    write_json(metrics_file(stage.recipe, f"student-{variant}"), metrics)
    return last
