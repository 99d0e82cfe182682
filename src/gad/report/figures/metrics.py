"""Numbers of variants with their intervals."""

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gad.metrics.statistics import Values, t_interval_over_seeds
from gad.report.figures import style
from gad.report.figures.empty import left_out_if_empty
from gad.report.figures.style import DPI

PAGE = 15  # inches that a page shows without making labels too small to read


def _interval(values: Values) -> tuple[float, float]:
    """The tables' interval, not seaborn's own by bootstrap, which is too narrow for a few seeds."""
    estimate = t_interval_over_seeds(values)
    return estimate.low, estimate.high


@contextmanager
def _same_jitter() -> Iterator[None]:
    """Have seaborn spread its dots alike at every run, so that equal numbers give an equal figure."""
    state = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(state)


@left_out_if_empty
def metric_bars(
    table: pd.DataFrame, metrics: dict[str, str], *, title: str = "", hue: str | None = None, one_scale: bool = False
) -> Figure | None:
    """A dot per seed and the mean with its 95 % interval for each variant; ``metrics`` maps column to axis label.

    With ``one_scale`` heights can be compared between panels. Columns that the table lacks are left out; None where it
    has none of them.
    """
    import seaborn as sns  # here, since it takes seconds

    metrics = {name: label for name, label in metrics.items() if name in table}
    if not metrics:
        return None
    order = style.style_order(table["variant"])
    groups = table[hue].nunique() if hue else 1
    width = max(3.6, 0.16 * len(order) * (groups + 1))
    columns = min(len(metrics), max(1, int(PAGE / width)))
    rows = -(-len(metrics) // columns)
    size = (width * columns, 3.8 * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, dpi=DPI, squeeze=False, sharey=one_scale)
    for unused in axes.flat[len(metrics) :]:
        unused.remove()
    legend_at = axes[0][-1]
    for axis, (metric, label) in zip(axes.flat, metrics.items(), strict=False):
        with _same_jitter():
            sns.stripplot(
                table, x="variant", y=metric, order=order, hue=hue, ax=axis, size=4, alpha=0.6, dodge=groups > 1,
                color=None if hue else "#888888", palette="colorblind" if hue else None, legend=False,
            )  # fmt: skip
        sns.pointplot(
            table, x="variant", y=metric, order=order, hue=hue, ax=axis, linestyle="none", capsize=0.15,
            markers=list(style.OTHERS[:groups]) if hue else "_",
            errorbar=_interval, dodge=0.8 - 0.8 / groups if groups > 1 else False, legend=axis is legend_at,
            color=None if hue else "#222222", palette="colorblind" if hue else None,
        )  # fmt: skip
        axis.set(xlabel="", ylabel=label)
        axis.yaxis.label.set_visible(True)  # seaborn hides it where panels share a scale
        many = len(order) > 4
        names = [name.replace("_", " " if many else "\n") for name in order]
        turned = {"rotation": 50, "ha": "right", "rotation_mode": "anchor"} if many else {}
        axis.set_xticks(range(len(order)), names, fontsize=9, **turned)
    if hue:
        sns.move_legend(legend_at, "upper left", bbox_to_anchor=(1, 1), title=hue)
    figure.suptitle(title)
    figure.tight_layout()
    return figure
