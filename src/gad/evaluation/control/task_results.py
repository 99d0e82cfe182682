"""What control tasks have given: rows, numbers and outputs of every model, by task."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from gad.models.stage import Stage
from gad.runtime.files import write_table


@dataclass(frozen=True)
class TaskResult:
    """One model's result of one task: a row per sample, the headline numbers, and the outputs.

    ``outputs[i]`` is that of the i-th row whose ``kept`` is true: of the teacher and one seed of each variant, all
    points, but only the images of the first ``SHOWN`` prompts.
    """

    task: str
    variant: str
    seed: int
    rows: pd.DataFrame
    numbers: dict[str, float]
    outputs: Tensor


def task_result_table(results: Iterable[TaskResult]) -> pd.DataFrame:
    """A row per variant and seed with the headline numbers of all tasks."""
    rows: dict[tuple[str, int], dict] = {}
    for result in results:
        row = rows.setdefault((result.variant, result.seed), {"variant": result.variant, "seed": result.seed})
        row |= result.numbers
    return pd.DataFrame(list(rows.values()))


def task_result_rows(results: Iterable[TaskResult], task: str) -> pd.DataFrame:
    """The rows of every model, with its variant and seed; empty for a task that did not run."""
    parts = [r.rows.assign(variant=r.variant, seed=r.seed) for r in results if r.task == task]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def save_task_result_rows(results: list[TaskResult], folder: Path) -> None:
    """``<task>.parquet`` in ``folder`` for each task, a row per model and sample."""
    for task in dict.fromkeys(result.task for result in results):
        write_table(folder / f"{task}.parquet", task_result_rows(results, task))


def task_result_outputs(results: Iterable[TaskResult], task: str, **wanted) -> dict[str, Tensor]:
    """The saved outputs of the rows where every named column has that value, by variant."""
    found = {}
    for result in results:
        if result.task == task and len(result.outputs):
            rows = result.rows[result.rows["kept"]]
            chosen = (rows[list(wanted)] == pd.Series(wanted)).all(axis=1).tolist()
            found[result.variant] = result.outputs[torch.tensor(chosen)]
    return found


def task_results_at_same_noises(stage: Stage, results: list[TaskResult]) -> dict[str, Tensor]:
    """What one seed of each model makes of the same noises: images of the first prompt, or all 2-D samples."""
    return task_result_outputs(results, "diversity", **({} if stage.teacher.pipeline is None else {"prompt": 0}))
