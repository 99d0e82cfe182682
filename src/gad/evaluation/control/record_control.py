"""The record of the `control` stage: its rows and numbers, and what its models made of the same noises."""

from torch import Tensor
from tqdm import tqdm

from gad.config import ControlConfig
from gad.evaluation.caption_overlap import report_caption_overlap
from gad.evaluation.control.tasks import TaskResult, control_table, run_tasks, save_task_rows, shown_task_outputs
from gad.metrics.summary import summary_against, summary_by_variant
from gad.models.stage import Stage
from gad.runtime.files import write_json, write_table, write_tensors
from gad.runtime.paths import metrics_file, stage_dir

MANY = 10  # images of each model that are saved


def all_control_results(stage: Stage[ControlConfig]) -> list[TaskResult]:
    """The result of each task of the recipe for the teacher and every student."""
    steps = run_tasks(stage.teacher, stage.models, stage.settings, cache_dir=stage.cache)
    total = len(stage.section.tasks) * (1 + len(stage.models))
    return list(tqdm(steps, total=total, desc="tasks", mininterval=2))


def control_outputs_at_same_noises(stage: Stage, results: list[TaskResult]) -> dict[str, Tensor]:
    """What one seed of each model makes of the same noises: images of the first prompt, or all 2-D samples."""
    return shown_task_outputs(results, "diversity", **({} if stage.teacher.pipeline is None else {"prompt": 0}))


def record_control(stage: Stage, results: list[TaskResult]) -> dict:
    """Write the tasks' rows, ``diversity.csv`` (all numbers by seed) and ``outputs.safetensors`` in the stage's folder
    and ``data/<recipe>/metrics/control.json``; returns the metrics.

    ``over_seeds`` holds every number of :func:`gad.evaluation.control.tasks.control_table`, ``minus_baseline`` the
    paired differences, and of images ``caption_overlap`` the captions that the students were trained with.
    """
    table = control_table(results)
    names = [name for name in table if name not in ("variant", "seed")]
    metrics = {
        "over_seeds": summary_by_variant(table, names),
        "minus_baseline": summary_against(table, names, "baseline"),
    } | report_caption_overlap(stage)
    write_json(metrics_file(stage.recipe, "control"), metrics)
    for path in (stage.folder, stage_dir(stage.recipe, "noise_library")):  # outputs of the stage: one may stay empty
        path.mkdir(parents=True, exist_ok=True)
    save_task_rows(results, stage.folder)
    write_table(stage.folder / "diversity.csv", table)
    outputs = control_outputs_at_same_noises(stage, results)
    kept = {name: out if stage.teacher.pipeline is None else out[:MANY] for name, out in outputs.items()}
    write_tensors(stage.folder / "outputs.safetensors", kept)
    return metrics
