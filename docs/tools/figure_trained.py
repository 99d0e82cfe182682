"""Figures of image students that are trained to the end: the same noises through all, and held-out curves."""

import csv

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from figure_style import GRID, INK, RESULTS, colour, metrics_of
from matplotlib.ticker import MultipleLocator
from PIL import Image

from gad.report.figures import draw_frontier
from gad.report.recorded_metric import Metric
from gad.report.result_tables import NAMES

SEEDS_SHOWN = "compact_tdm"  # whose images are shown
VARIANTS = ("baseline", "noise_augmentation", "gad", "pointwise_anchor")
RECIPES = {"compact_ladd": "LADD", "compact_tdm": "TDM", "compact_dmd2": "DMD2", "compact_sid": "SiD"}
MARKERS = "osD^"
SHOWN = {"jvp_cosine_isotropic": "JVP cosine ↑", "object_accuracy": "object accuracy ↑"}  # column of the curves: label
COSINE = Metric("JVP cosine", "sensitivity", "isotropic, h = 0.5", "jvp_cosine")
OBJECTS = Metric("object accuracy", "fidelity", "fidelity", "object_accuracy")
SHORT_NAMES = {"initialisation": "after regression"}


def _image_rows() -> dict[str, np.ndarray]:
    """The teacher's images and those of the trained students, at the same noises and prompts."""
    rows: dict[str, np.ndarray] = {}
    for variant in VARIANTS:
        pixels = np.asarray(Image.open(RESULTS / f"{SEEDS_SHOWN}_images" / f"{variant}.png"))
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


def _curves(recipe: str) -> dict[str, dict[int, list[dict]]]:
    """Rows of the held-out curves by variant and step, one for each seed."""
    found: dict[str, dict[int, list[dict]]] = {}
    with open(RESULTS / f"{recipe}_curves.csv", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["variant"], {}).setdefault(int(row["step"]), []).append(row)
    return found


def _draw_curves(axis, curves: dict, column: str, theme: dict) -> None:
    """A variant's mean and range over seeds at every step that was validated."""
    steps = sorted(curves["baseline"])
    for place, variant in enumerate(VARIANTS):
        values = np.array([[float(row[column]) for row in curves[variant][step]] for step in steps])
        x = np.arange(len(steps)) + 0.06 * (place - 1.5)
        spread = np.abs(np.stack([values.min(1), values.max(1)]) - values.mean(1))
        style = {"color": colour(variant, theme), "marker": MARKERS[place], "markersize": 5, "capsize": 2}
        axis.errorbar(x, values.mean(1), yerr=spread, label=NAMES.get(variant, variant), lw=1.6, **style)
    teacher = curves["baseline"][0][0].get(f"{column}_teacher")
    if teacher:
        axis.axhline(float(teacher), color=theme["teacher"], ls="--", lw=1.2)
        axis.annotate("teacher", (0, float(teacher)), xytext=(0, 3), textcoords="offset points", fontsize=10)
    axis.set_xticks(range(len(steps)), [str(step) for step in steps])
    axis.grid(axis="y", color=theme[GRID]), axis.spines[["top", "right"]].set_visible(False)


def draw_trained_curves(theme: dict):
    figure, axes = plt.subplots(len(SHOWN), len(RECIPES), figsize=(11.6, 2.5 * len(SHOWN) + 0.4), sharey="row")
    for column, (recipe, title) in enumerate(RECIPES.items()):
        curves = _curves(recipe)
        for row, (measure, label) in enumerate(SHOWN.items()):
            _draw_curves(axes[row, column], curves, measure, theme)
            if not column:
                axes[row, column].set_ylabel(label)
        axes[0, column].set_title(f"{title}, {len(curves['baseline'][0])} seeds", color=theme[INK], fontsize=12)
        axes[-1, column].set_xlabel("training steps")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    place = {"loc": "outside lower center", "ncols": len(VARIANTS), "frameon": False}
    figure.legend(handles, labels, labelcolor=theme[INK], **place)
    return figure


def draw_trained_tradeoff(theme: dict):
    """Sensitivity against fidelity: a mark a variant, with its intervals over seeds."""
    figure, axes = plt.subplots(1, len(RECIPES), figsize=(11.6, 3.4), sharex=True, sharey=True)
    for axis, (recipe, title) in zip(axes, RECIPES.items(), strict=True):
        for name, marker in zip(("initialisation", *VARIANTS), "X" + MARKERS, strict=True):
            x, y = (measure.estimate(metrics_of(recipe), name) for measure in (OBJECTS, COSINE))
            errors = {f"{end}err": [[e["mean"] - e["low"]], [e["high"] - e["mean"]]] for end, e in (("x", x), ("y", y))}
            style = {"color": colour(name, theme), "marker": marker, "markersize": 8, "capsize": 2, "ls": "none"}
            axis.errorbar(x["mean"], y["mean"], **errors, **style, label=SHORT_NAMES.get(name, NAMES.get(name, name)))
        teacher = OBJECTS.estimate(metrics_of(recipe), "teacher")["mean"]
        axis.axvline(teacher, color=theme["teacher"], ls="--", lw=1.2)
        axis.set_title(title, color=theme[INK], fontsize=12)
        axis.xaxis.set_major_locator(MultipleLocator(0.04))
        axis.set_xlabel("object accuracy ↑")
        axis.grid(color=theme[GRID]), axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("JVP cosine ↑")
    handles, labels = axes[0].get_legend_handles_labels()
    place = {"loc": "outside lower center", "ncols": len(VARIANTS) + 1, "frameon": False}
    figure.legend(handles, labels, labelcolor=theme[INK], **place)
    return figure


def draw_trained_frontier(theme: dict):
    """Sensitivity against fidelity over weights on validation noises, a line a term: a panel per base loss swept, and
    for a single one a panel per kind of direction.
    """
    sweeps = {recipe: f"gradient_ratio_{recipe.removeprefix('compact_')}.csv" for recipe in RECIPES}
    paths = {RECIPES[recipe]: RESULTS / "ablations" / name for recipe, name in sweeps.items()}
    tables = {name: pd.read_csv(path) for name, path in paths.items() if path.exists()}
    kinds = ("isotropic",) if len(tables) > 1 else ("isotropic", "low_frequency")
    panels = [(name, table, kind) for name, table in tables.items() for kind in kinds]
    size = (max(8.6, 2.9 * len(panels)), 3.8)
    figure, axes = plt.subplots(1, len(panels), figsize=size, squeeze=False)
    for axis, (name, table, kind) in zip(axes[0], panels, strict=True):
        rows = table[table["directions"] == kind]
        draw_frontier(axis, rows, {variant: colour(variant, theme) for variant in rows["variant"]})
        axis.set_title(f"{name}, {kind.replace('_', '-')} directions", color=theme[INK], fontsize=12)
        axis.set(xlabel="object accuracy ↑")
        axis.grid(color=theme[GRID]), axis.spines[["top", "right"]].set_visible(False)
    limits = np.array([[*axis.get_xlim(), *axis.get_ylim()] for axis in axes[0]])
    for axis in axes[0]:  # the same, so that panels compare
        axis.set(xlim=(limits[:, 0].min(), limits[:, 1].max()), ylim=(limits[:, 2].min(), limits[:, 3].max()))
    axes[0][0].set_ylabel("JVP cosine ↑")
    handles, labels = axes[0][0].get_legend_handles_labels()
    place = {"loc": "outside lower center", "ncols": len(handles), "frameon": False}
    figure.legend(handles, [NAMES.get(name, name) for name in labels], labelcolor=theme[INK], **place)
    return figure
