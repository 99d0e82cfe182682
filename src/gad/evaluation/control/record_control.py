"""The record of the `control` stage: its rows and numbers."""

from gad.evaluation.caption_overlap import report_caption_overlap
from gad.evaluation.control.task_results import (
    TaskResult,
    save_task_result_rows,
    task_result_table,
    task_results_at_same_noises,
)
from gad.metrics.summary import summary_against, summary_by_variant
from gad.models.stage import Stage
from gad.runtime.files import write_json, write_table, write_tensors
from gad.runtime.paths import metrics_file, stage_dir

MANY = 10  # images of each model that are saved


def record_control(stage: Stage, results: list[TaskResult]) -> dict:
    """Write the tasks' rows, ``diversity.csv`` (all numbers by seed) and ``outputs.safetensors`` in the stage's folder
    and ``data/<recipe>/metrics/control.json``; returns the metrics.

    ``over_seeds`` holds every number of :func:`gad.evaluation.control.task_results.task_result_table`,
    ``minus_baseline`` the paired differences, and for images ``caption_overlap`` the captions that the students were
    trained with.
    """
    table = task_result_table(results)
    names = [name for name in table if name not in ("variant", "seed")]
    metrics = {
        "over_seeds": summary_by_variant(table, names),
        "minus_baseline": summary_against(table, names, "baseline"),
    } | report_caption_overlap(stage)
    for path in (stage.folder, stage_dir(stage.recipe, "noise_library")):  # outputs of the stage: one may stay empty
        path.mkdir(parents=True, exist_ok=True)
    save_task_result_rows(results, stage.folder)
    write_table(stage.folder / "diversity.csv", table)
    outputs = task_results_at_same_noises(stage, results)
    kept = {name: out if stage.teacher.pipeline is None else out[:MANY] for name, out in outputs.items()}
    write_tensors(stage.folder / "outputs.safetensors", kept)
    write_json(metrics_file(stage.recipe, "control"), metrics)  # last: it says that the rest is there
    return metrics
