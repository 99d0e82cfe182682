"""Seed identification (Table 2): bars with intervals, and the classifier's learning curve."""

import itertools

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from gad.metrics.statistics import t_interval_over_seeds
from gad.report.figures.empty import left_out_if_empty
from gad.report.figures.style import DPI, PALETTE, style_order

_LABELS = {
    "seed_identification_accuracy": "seed identification accuracy (higher is better)",
    "teacher_trained_seed_accuracy": "teacher-trained seed accuracy (higher is better)",
}


def _estimate(group: pd.DataFrame, metric: str) -> tuple[float, float, float]:
    """Mean with its interval over student seeds, or over test prompts where there is one seed."""
    if len(group) > 1:
        found = t_interval_over_seeds(group[metric])
        return found.mean, found.low, found.high
    row = group.iloc[0]
    return row[metric], row[f"{metric}_low"], row[f"{metric}_high"]


@left_out_if_empty
def seed_bars(table: pd.DataFrame, *, num_seeds: int, title: str = "") -> Figure:
    """A bar per model of the table of seed identification, dots for its student seeds."""
    found = [metric for metric in _LABELS if metric in table]
    names = style_order(table["variant"])
    width = max(3.8, 0.7 * len(names) + 1.4)
    figure, axes = plt.subplots(1, len(found), figsize=(width * len(found), 3.8), dpi=DPI, sharey=True, squeeze=False)
    for axis, metric in zip(axes[0], found, strict=True):
        for place, name in enumerate(names):
            group = table[(table["variant"] == name) & table[metric].notna()]
            if group.empty:
                continue
            mean, low, high = _estimate(group, metric)
            axis.bar(place, mean, color=PALETTE.get(name, "#5e3c99"), width=0.62, alpha=0.75)
            axis.errorbar(place, mean, [[mean - low], [high - mean]], color="black", capsize=4, linewidth=1.2)
            if len(group) > 1:
                axis.plot([place] * len(group), group[metric], "o", color="white", markeredgecolor="black", ms=4)
        axis.axhline(1 / num_seeds, color="black", linestyle=":", linewidth=1)
        axis.text(1.01, 1 / num_seeds, "chance", va="center", fontsize=9, transform=axis.get_yaxis_transform())
        axis.set_ylabel(_LABELS[metric], fontsize=10)
        axis.set(ylim=(0, 1.05), xlim=(-0.6, len(names) - 0.4))
        axis.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names], fontsize=9)
        axis.tick_params(axis="x", rotation=60 if len(names) > 5 else 0)
        axis.tick_params(labelleft=True)
        axis.grid(axis="x", visible=False)
    figure.suptitle(title)
    figure.tight_layout()
    return figure


@left_out_if_empty
def seed_learning_curves(curve: pd.DataFrame, *, num_seeds: int, title: str = "") -> Figure:
    """Accuracy of the model's own classifier against its training images; mean over student seeds.

    A curve that still climbs at its end shows that the classifier, not the model, is the limit. ``curve`` is
    :func:`gad.evaluation.sensitivity.seed_accuracy.seed_curve_table`.
    """
    own = curve[curve["trained_on"] == "self"]
    figure, axis = plt.subplots(figsize=(6.4, 3.8), dpi=DPI)
    dashes, marks = itertools.cycle(["-", "--", "-.", ":"]), itertools.cycle("osD^vPX")
    for name in style_order(own["variant"]):
        line = own[own["variant"] == name].groupby("train_prompts")["accuracy"].mean()
        axis.plot(
            line.index * num_seeds, line, label=name.replace("_", " "), color=PALETTE.get(name, "#5e3c99"),
            linestyle=next(dashes), marker=next(marks), markersize=5,
        )  # fmt: skip
    axis.axhline(1 / num_seeds, color="black", linestyle=":", linewidth=1, label="chance")
    axis.set(xlabel="training images", ylabel="seed identification accuracy", ylim=(0, 1.05), title=title)
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    figure.tight_layout()
    return figure
