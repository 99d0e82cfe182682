"""Held-out curves of students while they train, and their image grids."""

import math
from collections.abc import Iterable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gad.metrics.convergence import ACCURACY, ENOUGH
from gad.report.figures import style
from gad.report.figures.empty import left_out_if_empty
from gad.report.figures.style import DPI

PANELS = {  # a metric of the held-out curves and its axis
    "jvp_cosine_isotropic": "JVP cosine, isotropic ↑",
    "jvp_cosine_low_frequency": "JVP cosine, low-frequency ↑",
    "gain_median_isotropic": "median gain, isotropic → 1",
    "gain_median_low_frequency": "median gain, low-frequency → 1",
    "map_error_median": "median map error ↓",
    "seed_retrieval_accuracy": "seed retrieval accuracy ↑",
    "object_accuracy": "object accuracy ↑",
    "vendi": "Vendi of a prompt → teacher",
    "mode_coverage": "mode coverage → teacher",
    "distance_to_roll": "distance to the Swiss roll ↓",
}
SHARES = ("seed_retrieval_accuracy", "object_accuracy", "mode_coverage")  # which lie in [0, 1]
COLUMNS = 4
APART = 1.3  # ratio of two steps below which their labels would touch


@left_out_if_empty
def validation_curves(curves: pd.DataFrame, *, title: str = "") -> Figure:
    """Each held-out metric against training steps; the mean over seeds, its band from the lowest seed to the highest.

    Steps are logarithmic, with initialisation (0) set apart at the left. The dashed line is the teacher's own value;
    dotted are a gain of 1 and 90 % of the teacher's object accuracy.
    """
    found = [name for name in PANELS if name in curves and curves[name].notna().any()]
    rows = math.ceil(len(found) / COLUMNS)
    columns = math.ceil(len(found) / rows)
    figure, axes = plt.subplots(rows, columns, figsize=(3.7 * columns + 1.8, 3.1 * rows + 0.4), dpi=DPI, squeeze=False)
    for axis, name in zip(axes.flat, found, strict=False):
        _references(axis, curves, name)
        for variant, look in style.variant_line_styles(curves["variant"]).items():
            by_step = curves[curves["variant"] == variant].groupby("step")[name]
            at = [_place(int(step), curves) for step in by_step.groups]
            axis.fill_between(at, by_step.min(), by_step.max(), color=look["color"], alpha=0.18, linewidth=0)
            axis.plot(at, by_step.mean(), label=variant.replace("_", " "), markersize=5, linewidth=1.8, **look)
        _step_axis(axis, curves)
        axis.set_ylabel(PANELS[name], fontsize=10)
        if name in SHARES:
            axis.set_ylim(-0.03, 1.05)
        if curves[name].min() > 0 and curves[name].max() > 30 * curves[name].min():
            axis.set_yscale("log")
    for axis in axes.flat[len(found) :]:
        axis.set_axis_off()
    handles, labels = _legend_entries(axes.flat[: len(found)])
    axes[0][columns - 1].legend(handles, labels, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    figure.suptitle(title)
    figure.tight_layout()
    return figure


@left_out_if_empty
def validation_strips(rows: dict[str, np.ndarray], *, title: str = "") -> Figure:
    """A row of images per name, ``[H, W, 3]`` each: the teacher's, and the student's after so many steps."""
    height, width = next(iter(rows.values())).shape[:2]
    size = 9.0, 9.0 * len(rows) * height / width + 0.4
    figure, axes = plt.subplots(len(rows), 1, figsize=size, dpi=DPI, squeeze=False)
    for axis, (name, pixels) in zip(axes[:, 0], rows.items(), strict=True):
        axis.imshow(pixels)
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
        axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=10)
    figure.suptitle(title, fontsize=11)
    figure.tight_layout(h_pad=0.2)
    return figure


def _first_step(curves: pd.DataFrame) -> int:
    steps = curves.loc[curves["step"] > 0, "step"]
    return int(steps.min()) if len(steps) else 1  # an untrained student has step 0 alone


def _place(step: int, curves: pd.DataFrame) -> float:
    """Where a step stands on the logarithmic axis: 0 as far before the first one as that before its double."""
    return float(step) if step else _first_step(curves) / 2


def _step_axis(axis: Axes, curves: pd.DataFrame) -> None:
    """Ticks at the steps that were measured, of close ones the first."""
    ticks: list[int] = []
    for step in sorted(curves["step"].unique()):
        if not ticks or not ticks[-1] or step >= APART * ticks[-1]:
            ticks.append(int(step))
    axis.set_xscale("log")
    axis.set_xticks([_place(step, curves) for step in ticks], [str(step) for step in ticks], fontsize=9)
    axis.set_xticks([], minor=True)
    axis.axvline(_first_step(curves) / np.sqrt(2), color="#bbbbbb", linewidth=1, linestyle=(0, (2, 3)))
    axis.set_xlabel("training steps", fontsize=10)


def _references(axis: Axes, curves: pd.DataFrame, name: str) -> None:
    """The teacher's own value, and what a student has to reach."""
    if f"{name}_teacher" in curves:
        teacher = curves[f"{name}_teacher"].dropna().iloc[0]
        axis.axhline(teacher, color=style.PALETTE["teacher"], linestyle="--", linewidth=1.4, label="teacher")
        if name == ACCURACY:
            axis.axhline(ENOUGH * teacher, color="#555555", linestyle=":", linewidth=1.4, label="90 % of the teacher's")
    if name.startswith("gain_median"):
        axis.axhline(1, color="#555555", linestyle=":", linewidth=1.4)


def _legend_entries(axes: Iterable[Axes]) -> tuple[list[Artist], list[str]]:
    """Every label of all panels once, the models first."""
    found: dict[str, Artist] = {}
    for axis in axes:
        found |= {label: handle for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    last = ("teacher", "90 % of the teacher's")
    labels = [name for name in found if name not in last] + [name for name in last if name in found]
    return [found[label] for label in labels], labels
