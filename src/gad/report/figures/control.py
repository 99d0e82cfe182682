"""What control through the noise gives: diversity against fidelity, obeyed requests, climbed scores, galleries."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from gad.metrics.statistics import Estimate, has_confidence_interval, t_interval_over_seeds
from gad.report.figures.empty import left_out_if_empty
from gad.report.figures.outputs import outputs_to_pixels, point_clouds
from gad.report.figures.style import DPI, variant_styles

SCORES = {
    "vendi": "Vendi score (EffLite0)",
    "mode_coverage": "mode coverage",
    "clip_score": "CLIP score",
    "object_accuracy": "object accuracy",
    "distance_to_roll": "distance to the Swiss roll (lower is better)",
}
FIDELITY, DIVERSITY = ("object_accuracy", "clip_score", "distance_to_roll"), ("vendi", "mode_coverage")
MAIN = ("teacher", "baseline", "gad")  # whose images are shown


@left_out_if_empty
def control_trade_off_plot(
    table: pd.DataFrame, *, x: str | None = None, y: str | None = None, title: str = ""
) -> Figure:
    """Diversity ``y`` against fidelity ``x``: a small mark per seed, a large one for the mean, and 95 % intervals.

    By default the first columns of ``FIDELITY`` and ``DIVERSITY`` that the table has.
    """
    x = x or next(name for name in FIDELITY if name in table)
    y = y or next(name for name in DIVERSITY if name in table)
    figure, axis = plt.subplots(figsize=(6.4, 4.2), dpi=DPI)
    for name, look in variant_styles(table["variant"]).items():
        seeds = table[table["variant"] == name]
        across, up = t_interval_over_seeds(seeds[x]), t_interval_over_seeds(seeds[y])
        if len(seeds) > 1:
            axis.scatter(seeds[x], seeds[y], s=14, alpha=0.45, linewidths=0, **look)
        axis.errorbar(
            across.mean, up.mean, xerr=_half(across), yerr=_half(up), markersize=13 if name == "teacher" else 9,
            markeredgecolor="black", markeredgewidth=0.8, linewidth=1.2, capsize=3, label=_plain(name), **look,
        )  # fmt: skip
    axis.set(xlabel=SCORES.get(x, x), ylabel=SCORES.get(y, y), title=title)
    axis.legend(loc="upper left", bbox_to_anchor=(1.02, 1), fontsize=9, frameon=False)
    figure.tight_layout()
    return figure


@left_out_if_empty
def control_request_plot(table: pd.DataFrame, *, ending: str = "_rank_correlation", title: str = "") -> Figure | None:
    """For each low-level attribute how well every variant follows what is asked of it: mean and 95 % interval.

    None for a table of a recipe without low-level requests.
    """
    columns = [name for name in table if name.endswith(ending) and not name.startswith("attribute_")]
    if not columns:
        return None
    names = variant_styles(table["variant"])
    figure, axis = plt.subplots(figsize=(max(6.0, 0.95 * len(columns)) + 1.6, 3.9), dpi=DPI)
    offsets = np.linspace(-0.3, 0.3, len(names)) if len(names) > 1 else [0.0]
    for offset, (name, look) in zip(offsets, names.items(), strict=True):
        estimates = [t_interval_over_seeds(table.loc[table["variant"] == name, column]) for column in columns]
        axis.errorbar(
            np.arange(len(columns)) + offset, [e.mean for e in estimates], yerr=[_half(e) for e in estimates],
            markeredgecolor="black", markeredgewidth=0.5, markersize=7, linestyle="none", linewidth=1.2, capsize=2,
            label=_plain(name), **look,
        )  # fmt: skip
    axis.axhline(0, color="#444444", linewidth=0.8)
    labels = [column.removesuffix(ending).replace("_", "\n") for column in columns]
    axis.set_xticks(range(len(columns)), labels, fontsize=9, rotation=30, ha="right")
    kind = "rank correlation, asked and shown" if "rank" in ending else "shift, standard deviations"
    axis.set(ylabel=kind, title=title)
    axis.xaxis.grid(False)
    axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=9, frameon=False)
    figure.tight_layout()
    return figure


@left_out_if_empty
def control_score_curves(rows: pd.DataFrame, *, label: str, title: str = "") -> Figure:
    """The gain in score over the untouched noise after each iteration: mean over prompts, a band for seeds."""
    figure, axis = plt.subplots(figsize=(6.4, 3.7), dpi=DPI)
    own = rows[rows["noise"] == "own"]
    for name, look in variant_styles(own["variant"]).items():
        scores = own[own["variant"] == name].pivot_table(index="seed", columns="iteration", values="score")
        gains = scores.sub(scores[0], axis=0)
        estimates = [t_interval_over_seeds(gains[i]) for i in gains]
        axis.plot(gains.columns, [e.mean for e in estimates], linewidth=1.5, label=_plain(name), **look)
        if len(gains) > 1:
            band = [e.low for e in estimates], [e.high for e in estimates]
            axis.fill_between(gains.columns, *band, color=look["color"], alpha=0.18)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set(xlabel="iterations", ylabel=label, title=title)
    axis.legend(loc="upper left", bbox_to_anchor=(1.02, 1), fontsize=9, frameon=False)
    figure.tight_layout()
    return figure


@left_out_if_empty
def control_same_prompt_grid(
    outputs: dict[str, Tensor], *, reference: Tensor | None = None, title: str = ""
) -> Figure | None:
    """What the same noises become: a grid of images for the teacher, the baseline and GAD, or 2-D samples of every
    model over the ``reference``."""
    if reference is not None:
        return point_clouds(outputs, reference=reference, title=title)
    return control_seed_grids({name: outputs[name] for name in MAIN if name in outputs}, title=title)


@left_out_if_empty
def control_seed_grids(outputs: dict[str, Tensor], *, columns: int = 4, title: str = "") -> Figure:
    """Square-like grids of one prompt's images side by side, a grid per model: what diversity looks like."""
    columns = min(columns, *map(len, outputs.values()))
    height = len(next(iter(outputs.values()))) // columns / columns * 3.1 + 0.7
    figure, axes = plt.subplots(1, len(outputs), figsize=(3.1 * len(outputs), height), dpi=DPI, squeeze=False)
    for axis, (name, images) in zip(axes[0], outputs.items(), strict=True):
        pixels = outputs_to_pixels(images[: len(images) // columns * columns])
        rows = [np.concatenate(pixels[i : i + columns], axis=1) for i in range(0, len(pixels), columns)]
        axis.imshow(np.concatenate(rows), interpolation="nearest")
        axis.set(xticks=[], yticks=[], title=_plain(name))
        axis.grid(False)
    figure.suptitle(title)
    figure.tight_layout()
    return figure


@left_out_if_empty
def control_request_strips(
    strips: dict[str, Tensor], *, asked: Sequence[float], attribute: str, title: str = ""
) -> Figure:
    """A strip of images per model, the attribute asked for rising from left to right."""
    figure, axes = plt.subplots(
        len(strips), 1, figsize=(1.0 * len(asked) + 1.6, 1.05 * len(strips) + 0.9), dpi=DPI, squeeze=False
    )
    for axis, (name, images) in zip(axes[:, 0], strips.items(), strict=True):
        axis.imshow(np.concatenate(outputs_to_pixels(images), axis=1), interpolation="nearest")
        axis.set(xticks=[], yticks=[])
        axis.set_ylabel(name.replace("_", "\n"), rotation=0, ha="right", va="center", fontsize=10)
        axis.grid(False)
    width = images.shape[-1]
    places = width * (np.arange(len(asked)) + 0.5)
    axes[-1, 0].set_xticks(places, [f"{value:.2g}" for value in asked], fontsize=9)
    axes[-1, 0].set_xlabel(f"{attribute.replace('_', ' ')} asked for")
    figure.suptitle(title)
    figure.tight_layout()
    return figure


def _half(estimate: Estimate) -> float:
    return estimate.mean - estimate.low if has_confidence_interval(estimate.low) else 0.0


def _plain(name: str) -> str:
    return name.replace("_", " ")
