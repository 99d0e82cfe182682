"""Response along a direction and by noise level, spectra, and what precision does to a measured cosine.

Every line has its own dash.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from gad.metrics.statistics import t_interval_over_seeds
from gad.report.figures import style
from gad.report.figures.empty import left_out_if_empty
from gad.report.figures.style import DPI

PRECISION = {"float32": ("#222222", "-", "o"), "bfloat16": ("#e08214", "--", "s"), "float16": ("#2166ac", ":", "^")}


def _line(axis: Axes, x: ArrayLike, y: ArrayLike, variant: str, look: dict) -> None:
    axis.plot(x, y, label=variant.replace("_", " "), markersize=5, linewidth=1.8, **look)


def _beside(axis: Axes) -> None:
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)


@left_out_if_empty
def noise_level_curves(levels: pd.DataFrame, metrics: dict[str, str], *, title: str = "") -> Figure:
    """Each metric against the noise level, noise at the left; mean over seeds with the band of its 95 % interval."""
    figure, axes = plt.subplots(1, len(metrics), figsize=(4.2 * len(metrics) + 1.6, 3.6), dpi=DPI, squeeze=False)
    for axis, (metric, label) in zip(axes[0], metrics.items(), strict=True):
        for variant, look in style.variant_line_styles(levels["variant"]).items():
            groups = levels[levels["variant"] == variant].groupby("t")[metric]
            found = {t: t_interval_over_seeds(values) for t, values in groups}
            times = sorted(found, reverse=True)
            _line(axis, times, [found[t].mean for t in times], variant, look)
            low, high = ([getattr(found[t], end) for t in times] for end in ("low", "high"))
            axis.fill_between(times, low, high, color=look["color"], alpha=0.15, linewidth=0)
        axis.set(xlabel="time t (1 is noise)", ylabel=label, xticks=sorted(levels["t"].unique()))
        axis.invert_xaxis()
        if levels[metric].min() > 0 and levels[metric].max() > 30 * levels[metric].min():
            axis.set_yscale("log")
    _beside(axes[0][-1])
    figure.suptitle(title)
    figure.tight_layout()
    return figure


@left_out_if_empty
def singular_value_lines(spectra: pd.DataFrame, *, title: str = "") -> Figure:
    """Leading singular values of each noise-to-image map: geometric mean over noises and seeds, logarithmic axis."""
    figure, axis = plt.subplots(figsize=(6.4, 3.8), dpi=DPI)
    logs = spectra.assign(log=np.log(spectra["singular_value"].clip(lower=1e-12)))
    for variant, look in style.variant_line_styles(spectra["variant"]).items():
        curve = np.exp(logs[logs["variant"] == variant].groupby("index")["log"].mean())
        _line(axis, curve.index, curve, variant, look)
    axis.set(
        yscale="log", xlabel="index k", ylabel="singular value $s_k$ of $J$", title=title,
        xticks=sorted(spectra["index"].unique()),
    )  # fmt: skip
    _beside(axis)
    figure.tight_layout()
    return figure


def response_step_curves(measured: pd.DataFrame, *, marks: dict[str, float], title: str = "") -> Figure:
    """Measured cosine and norm ratio against h, a line per dtype, the true values level; ``marks`` are named steps."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 3.9), dpi=DPI)
    columns = {
        "cosine": ("true_cosine", "measured JVP cosine"),
        "norm_ratio": ("true_ratio", "measured norm ratio"),
    }
    for axis, (column, (truth, label)) in zip(axes, columns.items(), strict=True):
        axis.axhline(measured[truth].iloc[0], color="#777777", linewidth=6, alpha=0.35, label="exact, forward mode")
        for dtype, group in measured.groupby("dtype", sort=False):
            color, dash, mark = PRECISION[dtype]
            axis.plot(group["h"], group[column], color=color, linestyle=dash, marker=mark, label=dtype)
        for number, (name, h) in enumerate(marks.items()):
            axis.axvline(h, color="#bbbbbb", linewidth=1)
            place = (h, 1.02 + 0.07 * (number % 2))
            axis.annotate(name, place, xycoords=("data", "axes fraction"), ha="center", fontsize=8, color="#555555")
        axis.set(xscale="log", xlabel="step h, in noise standard deviations", ylabel=label)
    top = measured["norm_ratio"].replace(np.inf, np.nan).max()
    axes[0].set_ylim(-0.1, 1.08)
    axes[1].set_ylim(0, min(1.15 * max(top, measured["true_ratio"].iloc[0]), 3))
    _beside(axes[1])
    figure.suptitle(title)
    figure.tight_layout()
    return figure


def response_curves(table: pd.DataFrame, *, title: str = "") -> Figure:
    """How far each model's output moves, ‖Phi(z + h v) - Phi(z)‖ / sqrt(d), against h; mean over noises and seeds."""
    figure, axis = plt.subplots(figsize=(5.4, 3.6), dpi=DPI)
    for name, look in style.variant_line_styles(table["variant"]).items():
        curve = table[table["variant"] == name].groupby("h")["change"].mean()
        axis.plot(curve.index, curve, label=name.replace("_", " "), **look)
    axis.set(xlabel="h, in noise standard deviations", ylabel="root mean square change of $x_0$", title=title)
    axis.legend()
    figure.tight_layout()
    return figure
