"""One function per figure: arrays in, Figure out. Colours stay distinct in grey; every axis has a name."""

import itertools
import math
import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from torch import Tensor

from gad.stats import mean_over_seeds

DPI = 110
PALETTE = {  # in the order in which they are drawn
    "teacher": "#222222",
    "baseline": "#9a9a9a",
    "equal_time": "#c7c7c7",
    "noise_augmentation": "#e08214",
    "diversity_regulariser": "#fdb863",
    "random_gradient": "#a6611a",
    "gad": "#2166ac",
    "gad_score": "#92c5de",
    "gad_score_fixed": "#4393c3",
    "gad_released": "#c51b7d",
    "pointwise_anchor": "#7fbc41",
    "gad_anchor": "#8073ac",
}

sns.set_theme(style="whitegrid", context="notebook")


def _order(names) -> list[str]:
    return [name for name in PALETTE if name in set(names)]


def to_pixels(images: Tensor) -> np.ndarray:
    """``[B, 3, H, W]`` in [-1, 1] to ``[B, H, W, 3]`` uint8."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def image_grid(rows: dict[str, Tensor], *, captions: Sequence[str] = (), title: str = "") -> Figure:
    """A row of images per name, ``[B, 3, H, W]`` in [-1, 1] each, with captions over the columns."""
    names = list(rows)
    count = len(next(iter(rows.values())))
    figure, axes = plt.subplots(
        len(names), count, figsize=(1.35 * count + 1.2, 1.4 * len(names) + 0.7), squeeze=False, dpi=DPI
    )
    for axis_row, name in zip(axes, names, strict=True):
        for axis, pixels in zip(axis_row, to_pixels(rows[name]), strict=True):
            axis.imshow(pixels)
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
        axis_row[0].set_ylabel(name.replace("_", "\n"), rotation=0, ha="right", va="center", fontsize=10)
    for axis, caption in zip(axes[0], captions, strict=False):
        axis.set_title(textwrap.fill(caption, 18), fontsize=7)
    figure.suptitle(title)
    figure.tight_layout()
    return figure


def point_clouds(clouds: dict[str, Tensor], *, reference: Tensor, title: str = "") -> Figure:
    """Where each model sends the same noises, ``[N, 2]`` each, over the data points."""
    figure, axes = plt.subplots(1, len(clouds), figsize=(3.4 * len(clouds), 3.6), dpi=DPI, sharex=True, sharey=True)
    for axis, (name, points) in zip(np.atleast_1d(axes), clouds.items(), strict=True):
        axis.scatter(*reference.T, s=2, color="#cfcfcf", linewidths=0)
        axis.scatter(*points.T, s=6, color=PALETTE.get(name, "#2166ac"), linewidths=0)
        axis.set(title=name.replace("_", " "), aspect="equal", xlabel="$x_1$ (data units)", ylabel="$x_2$")
    figure.suptitle(title)
    figure.tight_layout()
    return figure


CURVES = {  # a column of the training log and its axis
    **{term: f"{term} loss (batch mean)" for term in ("matching", "ladd", "tdm", "sid", "auxiliary", "gad")},
    "probe_jvp_cosine": "JVP cosine on fixed pairs",
    "probe_gain": "gain on fixed pairs (1 is best)",
}


def training_curves(log: pd.DataFrame, *, title: str = "") -> Figure:
    """What was logged against steps; one thin line per seed and variant, logarithmic where a loss is positive."""
    found = [name for name in CURVES if name in log and log[name].notna().any()]
    columns = min(3, len(found))
    rows = math.ceil(len(found) / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4.6 * columns, 3.3 * rows), dpi=DPI, squeeze=False)
    last = axes[0][columns - 1]
    for axis, name in zip(axes.flat, found, strict=False):
        sns.lineplot(
            log.dropna(subset=[name]), x="step", y=name, hue="variant", units="seed", estimator=None, ax=axis,
            hue_order=_order(log["variant"]), palette=PALETTE, linewidth=1, alpha=0.8,
            legend="auto" if axis is last else False,
        )  # fmt: skip
        logarithmic = not name.startswith("probe") and (log[name].dropna() > 0).all()
        axis.set(yscale="log" if logarithmic else "linear", xlabel="training step", ylabel=CURVES[name])
    for axis in axes.flat[len(found) :]:
        axis.set_axis_off()
    sns.move_legend(last, "upper left", bbox_to_anchor=(1, 1), title=None)
    figure.suptitle(title)
    figure.tight_layout()
    return figure


def _interval(values) -> tuple[float, float]:
    """The tables' interval, not seaborn's own by bootstrap, which is too narrow for a few seeds."""
    estimate = mean_over_seeds(values)
    return estimate.low, estimate.high


def metric_bars(table: pd.DataFrame, metrics: dict[str, str], *, title: str = "", hue: str | None = None) -> Figure:
    """A dot per seed and the mean with its 95 % interval for each variant; ``metrics`` maps column to axis label."""
    order = _order(table["variant"])
    groups = table[hue].nunique() if hue else 1
    width = max(3.6, 0.25 * len(order) * (groups + 1))
    figure, axes = plt.subplots(1, len(metrics), figsize=(width * len(metrics), 3.8), dpi=DPI, squeeze=False)
    for axis, (metric, label) in zip(axes[0], metrics.items(), strict=True):
        sns.stripplot(
            table, x="variant", y=metric, order=order, hue=hue, ax=axis, size=4, alpha=0.6, dodge=groups > 1,
            color=None if hue else "#888888", palette="colorblind" if hue else None, legend=False,
        )  # fmt: skip
        sns.pointplot(
            table, x="variant", y=metric, order=order, hue=hue, ax=axis, linestyle="none", markers="_", capsize=0.15,
            errorbar=_interval, dodge=0.8 - 0.8 / groups if groups > 1 else False, legend=axis is axes[0][-1],
            color=None if hue else "#222222", palette="colorblind" if hue else None,
        )  # fmt: skip
        axis.set(xlabel="", ylabel=label)
        axis.set_xticks(range(len(order)), [name.replace("_", "\n") for name in order], fontsize=9)
        if len(order) > 4:
            axis.tick_params(axis="x", rotation=60)
    if hue:
        sns.move_legend(axes[0][-1], "upper left", bbox_to_anchor=(1, 1), title=hue)
    figure.suptitle(title)
    figure.tight_layout()
    return figure


def response_curves(steps: Sequence[float], curves: dict[str, np.ndarray], *, title: str = "") -> Figure:
    """How far each model's answer moves, ‖Phi(z + h v) - Phi(z)‖ / sqrt(d), against h; mean over noises."""
    figure, axis = plt.subplots(figsize=(5.4, 3.6), dpi=DPI)
    dashes = itertools.cycle(["-", ":", "--", "-.", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1))])
    styles = dict(zip(PALETTE, dashes, strict=False))
    for name, curve in curves.items():
        axis.plot(steps, curve, label=name.replace("_", " "), color=PALETTE.get(name), linestyle=styles.get(name, "-"))
    axis.set(xlabel="h, in noise standard deviations", ylabel="root mean square change of $x_0$", title=title)
    axis.legend()
    figure.tight_layout()
    return figure


def answers(outputs: dict[str, Tensor], *, reference: Tensor | None = None, **labels) -> Figure:
    """What each model makes of the same noises: an image grid, or point clouds for the Swiss roll."""
    if next(iter(outputs.values())).ndim == 4:
        return image_grid(outputs, **labels)
    labels.pop("captions", None)
    return point_clouds(outputs, reference=reference, **labels)
