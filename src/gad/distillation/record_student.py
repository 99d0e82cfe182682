"""The record of the student stage: the last logged values of a variant."""

import numpy as np
import pandas as pd

from gad.config import StudentConfig
from gad.distillation.validation_log import CURVES, read_image_rows
from gad.models.stage import Stage
from gad.runtime.files import write_json
from gad.runtime.paths import metrics_file


def validation_curves(stage: Stage, variant: str) -> pd.DataFrame:
    """The held-out curves of all seeds, a row per seed and validated step; empty where the recipe asks for none."""
    path = stage.folder / variant / CURVES
    return pd.read_csv(path).assign(variant=variant) if path.exists() else pd.DataFrame()


def validation_images(stage: Stage[StudentConfig], variant: str) -> dict[str, np.ndarray]:
    """Rows of images of the first seed at the validation noises that are shown; empty where there are none."""
    return read_image_rows(stage.folder / variant, stage.section.seeds_of(variant)[0])


def record_student(stage: Stage, variant: str, log: pd.DataFrame) -> pd.DataFrame:
    """Write ``data/<recipe>/metrics/student-<variant>.json``, the last logged values as means over seeds; returns the
    last row of each seed."""
    last = log.groupby("seed").last().drop(columns="variant")
    metrics = {"final": last.mean().to_dict(), "seeds": list(last.index)}
    write_json(metrics_file(stage.recipe, f"student-{variant}"), metrics)
    return last
