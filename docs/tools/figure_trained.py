"""Figures of image students that are trained to the end: the same noises through all, and held-out curves."""

import csv

import matplotlib.pyplot as plt
import numpy as np
from figure_style import GRID, INK, RESULTS, colour
from PIL import Image

from gad.report.result_tables import NAMES

RECIPE = "compact_tdm"
VARIANTS = ("baseline", "noise_augmentation", "gad", "pointwise_anchor")
SHOWN = {  # column of the curves: title, and which way is better
    "jvp_cosine_isotropic": "JVP cosine ↑",
    "map_error_median": "map error ↓",
    "object_accuracy": "object accuracy ↑",
}


def _image_rows() -> dict[str, np.ndarray]:
    """The teacher's images and those of the trained students, at the same noises and prompts."""
    rows: dict[str, np.ndarray] = {}
    for variant in VARIANTS:
        pixels = np.asarray(Image.open(RESULTS / f"{RECIPE}_images" / f"{variant}.png"))
        side = (len(pixels) - 2) // 2  # two rows, two white pixels between them
        rows.setdefault("teacher", pixels[:side])
        rows[variant] = pixels[-side:]
    return rows


def draw_trained_seeds(theme: dict):
    rows = _image_rows()
    figure, axes = plt.subplots(len(rows), 1, figsize=(9.6, 1.08 * len(rows)))
    figure.get_layout_engine().set(rect=(0.02, 0, 0.98, 1))  # the labels are wider than the layout takes them for
    for axis, (name, pixels) in zip(axes, rows.items(), strict=True):
        axis.imshow(pixels, interpolation="nearest", aspect="equal")
        axis.set_xticks([]), axis.set_yticks([])
        axis.set_ylabel(NAMES.get(name, name).replace(" ", "\n"), rotation=0, ha="right", va="center", fontsize=11)
        axis.yaxis.label.set_color(colour(name, theme))
        for spine in axis.spines.values():
            spine.set_visible(False)
    return figure


def _curves() -> dict[str, dict[int, list[dict]]]:
    """Rows of the held-out curves by variant and step, one for each seed."""
    found: dict[str, dict[int, list[dict]]] = {}
    with open(RESULTS / f"{RECIPE}_curves.csv", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["variant"], {}).setdefault(int(row["step"]), []).append(row)
    return found


def draw_trained_curves(theme: dict):
    figure, axes = plt.subplots(1, len(SHOWN), figsize=(10.4, 3.4))
    curves = _curves()
    steps = sorted(curves["baseline"])
    for axis, (column, title) in zip(axes, SHOWN.items(), strict=True):
        for place, variant in enumerate(VARIANTS):
            values = np.array([[float(row[column]) for row in curves[variant][step]] for step in steps])
            x = np.arange(len(steps)) + 0.06 * (place - 1.5)
            spread = np.abs(np.stack([values.min(1), values.max(1)]) - values.mean(1))
            style = {"color": colour(variant, theme), "marker": "osD^"[place], "markersize": 5, "capsize": 2}
            axis.errorbar(x, values.mean(1), yerr=spread, label=NAMES.get(variant, variant), lw=1.6, **style)
        teacher = curves["baseline"][0][0].get(f"{column}_teacher")
        if teacher:
            axis.axhline(float(teacher), color=theme["teacher"], ls="--", lw=1.2)
            axis.annotate("teacher", (0, float(teacher)), xytext=(0, 3), textcoords="offset points", fontsize=10)
        axis.set_xticks(range(len(steps)), [str(step) for step in steps])
        axis.set_title(title, color=theme[INK], fontsize=12), axis.set_xlabel("training steps")
        axis.grid(axis="y", color=theme[GRID]), axis.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    place = {"loc": "outside lower center", "ncols": len(VARIANTS), "frameon": False}
    figure.legend(handles, labels, labelcolor=theme[INK], **place)
    return figure
