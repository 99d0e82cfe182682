"""Images of the control tasks, chosen for a page: what a figure needs by the names of its arguments.

Where there are no images, or the recipe leaves the task out, there are no rows, and the figure is left out as well.
"""

import pandas as pd
from torch import Tensor

from gad.config import ControlConfig
from gad.evaluation.control.noise_library import open_library
from gad.evaluation.control.noise_query_inputs import noise_query_library_folder
from gad.evaluation.control.task_output import SHOWN
from gad.evaluation.control.task_results import TaskResult, task_result_outputs, task_result_rows, task_result_table
from gad.models.sampler import TEACHER
from gad.models.stage import Stage

MAIN = (TEACHER, "baseline", "gad")  # whose images are shown
REQUESTS = 10  # low-level requests of a strip
Gallery = dict[str, object]
NOTHING: dict[str, Tensor] = {}


def _main(outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: outputs[name] for name in MAIN if name in outputs}


def _has(stage: Stage[ControlConfig], task: str) -> bool:
    """Whether there are images of the task."""
    return stage.teacher.pipeline is not None and task in stage.section.tasks


def layout_gallery(stage: Stage[ControlConfig], results: list[TaskResult]) -> Gallery:
    """``rows`` of images from random and from optimised noise, with the ``boxes`` and ``nouns`` that were requested."""
    if not _has(stage, "layout"):
        return {"rows": NOTHING, "boxes": [], "nouns": []}
    rows = task_result_rows(results, "layout")
    images: dict[str, Tensor] = {}
    asked = rows[(rows["variant"] == TEACHER) & (rows["noise"] == "random")].head(SHOWN)
    for noise in ("random", "optimised"):
        found = _main(task_result_outputs(results, "layout", noise=noise))
        images |= {f"{name}, {noise}": made[:SHOWN] for name, made in found.items()}
    return {"rows": images, "boxes": asked["target_boxes"].to_list(), "nouns": asked["target_nouns"].to_list()}


def retrieval_gallery(stage: Stage[ControlConfig], results: list[TaskResult]) -> Gallery:
    """``rows``: the library's own images of the retrieved noises and what each model makes of them; ``captions``."""
    if not _has(stage, "noise_query"):
        return {"rows": NOTHING, "captions": []}
    rows = task_result_rows(results, "noise_query")
    asked = (rows["variant"] == TEACHER) & (rows["noise"] == "retrieved") & (rows["kind"] == "semantic")
    first = rows[asked].head(SHOWN)
    library = open_library(noise_query_library_folder(stage.settings))
    assert library.previews is not None, "a library of images has them"
    previews = library.previews[first["entry"].astype(int).to_list()]
    found = _main(task_result_outputs(results, "noise_query", noise="retrieved", kind="semantic"))
    images = {"reference": previews / 127.5 - 1} | {name: made[:SHOWN] for name, made in found.items()}
    return {"rows": images, "captions": first["caption"].to_list()}


def request_gallery(stage: Stage[ControlConfig], results: list[TaskResult]) -> Gallery:
    """``strips`` of the first prompt for the ``attribute`` that students follow best, and the values ``asked`` for."""
    if not _has(stage, "noise_query"):
        return {"strips": NOTHING, "asked": [], "attribute": ""}
    table, rows = task_result_table(results), task_result_rows(results, "noise_query")
    followed = table[table["variant"] != TEACHER].mean(numeric_only=True).fillna(-1)
    columns = [name for name in table if name.endswith("_rank_correlation") and "attribute" not in name]
    attribute = max(columns, key=followed.get).removesuffix("_rank_correlation")
    asked = rows[(rows["variant"] == TEACHER) & (rows["attribute"] == attribute) & (rows["prompt"] == 0)]["request"]
    some = list(range(0, len(asked), max(1, len(asked) // REQUESTS)))
    strips = _main(task_result_outputs(results, "noise_query", attribute=attribute, prompt=0))
    strips = {name: made[some] for name, made in strips.items()}
    return {"strips": strips, "asked": asked.iloc[some].to_list(), "attribute": attribute}


def optimisation_gallery(stage: Stage[ControlConfig], results: list[TaskResult]) -> Gallery:
    """``rows`` of images before and after the ascent from each model's own noise, with their ``captions``."""
    if not _has(stage, "noise_optimisation"):
        return {"rows": NOTHING, "captions": []}
    config = stage.section.noise_optimisation
    assert config is not None, "the task has its section"
    moments = {"before": 0, "after": config.iterations}
    chosen = {
        moment: _main(task_result_outputs(results, "noise_optimisation", noise="own", iteration=number))
        for moment, number in moments.items()
    }
    images = {f"{name} {moment}": chosen[moment][name] for name in chosen["before"] for moment in moments}
    count = len(next(iter(images.values())))
    return {
        "rows": images,
        "captions": task_result_rows(results, "noise_optimisation")["caption"].iloc[:count].to_list(),
    }


def composition_gallery(stage: Stage[ControlConfig], results: list[TaskResult]) -> Gallery:
    """``rows`` of one image of each of the first prompts, with their ``captions``."""
    if not _has(stage, "composition"):
        return {"rows": NOTHING, "captions": []}
    rows = task_result_rows(results, "composition")
    first = rows[(rows["variant"] == TEACHER) & (rows["sample"] == 0)].head(SHOWN)
    return {
        "rows": _main(task_result_outputs(results, "composition", sample=0)),
        "captions": first["caption"].to_list(),
    }


def num_gallery_prompts(results: list[TaskResult], task: str) -> int:
    """How many prompts, or targets, each model had in a task; 0 where it did not run."""
    rows = task_result_rows(results, task)
    return rows["prompt"].nunique() if len(rows) else 0


def gallery_caption(results: list[TaskResult]) -> str:
    """The prompt of the first diversity grid."""
    return task_result_rows(results, "diversity").get("caption", pd.Series(["the same noises"])).iloc[0]
