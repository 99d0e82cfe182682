"""What was logged while students trained."""

import math

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from gad.report.figures.empty import left_out_if_empty
from gad.report.figures.style import DPI, PALETTE, style_order

CURVES = {  # a column of the training log and its axis
    **{term: f"{term} loss (batch mean)" for term in ("matching", "ladd", "tdm", "sid", "auxiliary", "gad")},
    "monitor_jvp_cosine": "JVP cosine on fixed pairs",
    "monitor_gain": "gain on fixed pairs (1 is best)",
}


@left_out_if_empty
def training_curves(log: pd.DataFrame, *, title: str = "") -> Figure:
    """What was logged against steps; one thin line per seed and variant, logarithmic where a loss is positive."""
    import seaborn as sns  # here, since it takes seconds

    found = [name for name in CURVES if name in log and log[name].notna().any()]
    columns = min(3, len(found))
    rows = math.ceil(len(found) / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4.6 * columns, 3.3 * rows), dpi=DPI, squeeze=False)
    last = axes[0][columns - 1]
    for axis, name in zip(axes.flat, found, strict=False):
        sns.lineplot(
            log.dropna(subset=[name]), x="step", y=name, hue="variant", units="seed", estimator=None, ax=axis,
            hue_order=style_order(log["variant"]), palette=PALETTE, linewidth=1, alpha=0.8,
            legend="auto" if axis is last else False,
        )  # fmt: skip
        logarithmic = not name.startswith("monitor") and (log[name].dropna() > 0).all()
        axis.set(yscale="log" if logarithmic else "linear", xlabel="training step", ylabel=CURVES[name])
    for axis in axes.flat[len(found) :]:
        axis.set_axis_off()
    sns.move_legend(last, "upper left", bbox_to_anchor=(1, 1), title=None)
    figure.suptitle(title)
    figure.tight_layout()
    return figure
