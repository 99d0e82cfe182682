"""What was logged while students trained."""

import math

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gad.report.figures.empty import left_out_if_empty
from gad.report.figures.style import DPI, style_order, variant_line_styles

CURVES = {  # a column of the training log and its axis
    **{term: f"{term} loss (batch mean)" for term in ("matching", "ladd", "tdm", "dmd2", "sid", "auxiliary", "gad")},
    "monitor_jvp_cosine": "JVP cosine on fixed pairs",
    "monitor_gain": "gain on fixed pairs (1 is best)",
}


@left_out_if_empty
def training_curves(log: pd.DataFrame, *, title: str = "") -> Figure:
    """What was logged against steps; one thin line per seed and variant, logarithmic where a loss is positive."""
    found = [name for name in CURVES if name in log and log[name].notna().any()]
    columns = min(3, len(found))
    rows = math.ceil(len(found) / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4.6 * columns, 3.3 * rows), dpi=DPI, squeeze=False)
    for axis, name in zip(axes.flat, found, strict=False):
        _lines(axis, log.dropna(subset=[name]), name, names=log["variant"])
        logarithmic = not name.startswith("monitor") and (log[name].dropna() > 0).all()
        axis.set(yscale="log" if logarithmic else "linear", xlabel="training step", ylabel=CURVES[name])
    for axis in axes.flat[len(found) :]:
        axis.set_axis_off()
    lines = {line.get_label(): line for axis in axes.flat for line in axis.lines}
    kept = [variant.replace("_", " ") for variant in style_order(log["variant"])]
    handles = [lines[name] for name in kept if name in lines]
    axes[0][columns - 1].legend(handles=handles, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    figure.suptitle(title)
    figure.tight_layout()
    return figure


def _lines(axis: Axes, log: pd.DataFrame, name: str, *, names: pd.Series) -> None:
    """A line per seed; variants differ by dash as well, for those who see no colour."""
    for variant, look in variant_line_styles(names).items():
        drawn = {part: look[part] for part in ("color", "linestyle")}
        for number, (_, own) in enumerate(log[log["variant"] == variant].groupby("seed")):
            label = variant.replace("_", " ") if number == 0 else "_"
            axis.plot(own["step"], own[name], label=label, linewidth=1.1, alpha=0.85, **drawn)
