"""What the control tasks' rows say of other prompts, not of other seeds alone.

A number over seeds alone speaks of the measured prompts. Here every prompt is a sample, as a noise is one in the
geometry, so the intervals are those of :mod:`gad.metrics.paired`. Where a variant has one seed, or is the teacher,
they cover other prompts for that very model.
"""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from gad.metrics.paired import paired_table
from gad.metrics.statistics import CrossedEstimate, Estimate, bootstrap_mean, crossed_mean

MEASURED = {  # task: the columns that are compared, those that the rows have
    "diversity": ("vendi", "seed_retrieval_accuracy", "object_accuracy", "colour_accuracy", "distance_to_roll"),
    "layout": ("overlap",),
    "composition": ("correct",),
    "noise_query": ("clip_score", "object_accuracy", "target_distance"),
}
GAINS = (  # task, column, kind of noise, the kind it is compared with
    ("layout", "overlap", "optimised", "random"),
    ("layout", "overlap", "teacher", "random"),
    ("noise_query", "clip_score", "retrieved", "random"),
    ("noise_query", "clip_score", "own", "random"),
    ("noise_query", "target_distance", "retrieved", "random"),
    ("noise_query", "target_distance", "own", "random"),
)
FRESH = "fresh"  # neither retrieved nor from the library
SEEDS_AND_PROMPTS, PROMPTS_ALONE = "seeds and prompts", "prompts alone"


def _rows(folder: Path) -> Iterator[tuple[str, str | None, pd.DataFrame]]:
    """Task, kind of noise where it has several, and a row per model and sample; of the tasks that ran."""
    for task in MEASURED:
        path = folder / f"{task}.parquet"
        rows = pd.read_parquet(path) if path.exists() else pd.DataFrame()
        if "kind" in rows:
            rows = rows[rows["kind"] == "semantic"]
        if "noise" not in rows:
            yield task, None, rows
            continue
        for noise, part in rows.groupby("noise", sort=False):
            yield task, noise, part


def control_differences(folder: Path, reference: str = "baseline") -> pd.DataFrame:
    """A row per task, kind of noise, column and variant, at equal prompts, and seeds where there are several.

    ``difference`` to the reference is an :class:`Estimate`; ``covers`` says for what its interval holds.
    """
    found = []
    for task, noise, rows in _rows(folder):
        metrics = [name for name in MEASURED[task] if name in rows]
        if not metrics:
            continue
        label = task.replace("_", " ") + (f", {FRESH if noise == 'none' else noise} noise" if noise else "")
        rows = rows[rows["variant"] != "teacher"].drop(columns="noise", errors="ignore")
        table = paired_table(rows.rename(columns={"prompt": "noise"}).assign(directions=label), metrics, reference)
        for row in table.to_dict("records"):
            several = row["num_seeds"] > 1
            end = "both" if several else "noises"
            interval = row["difference"], row[f"{end} low"], row[f"{end} high"], row["num_seeds"]
            estimate = CrossedEstimate(*interval, row["both freedom"]) if end == "both" else Estimate(*interval)
            name = {"task": label, "metric": row["metric"], "variant": row["variant"]}
            covers = SEEDS_AND_PROMPTS if several else PROMPTS_ALONE
            found.append(name | {"difference": estimate, "covers": covers})
    return pd.DataFrame(found)


def control_gains(folder: Path) -> pd.DataFrame:
    """A row per entry of ``GAINS`` and model, the teacher too: one kind of noise minus another.

    ``gain`` is an :class:`Estimate` at equal prompts and seeds, ``covers`` says for what its interval holds.
    """
    tables = {(task, noise): rows for task, noise, rows in _rows(folder)}
    found = []
    for task, metric, noise, plain in GAINS:
        if metric not in tables.get((task, noise), ()):
            continue
        means = [tables[task, kind].groupby(["variant", "seed", "prompt"])[metric].mean() for kind in (noise, plain)]
        difference = means[0] - means[1]
        for variant in tables[task, noise]["variant"].unique():
            values = difference[variant].unstack("prompt").to_numpy()
            several = len(values) > 1
            name = {"task": f"{task.replace('_', ' ')}, {metric.replace('_', ' ')}: {noise} less {plain} noise"}
            gain = crossed_mean(values) if several else bootstrap_mean(values[0])
            covers = SEEDS_AND_PROMPTS if several else PROMPTS_ALONE
            found.append(name | {"variant": variant, "gain": gain, "covers": covers})
    return pd.DataFrame(found)
