"""A sweep of weights as a frontier: sensitivity against fidelity, a line per variant from the least weight on."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gad.report.figures.style import DPI, PALETTE, variant_line_styles

SENSITIVITY, FIDELITY = "JVP cosine", "object accuracy"
MARGIN = 0.05  # of both axes around the means
SIZES = (6, 30, 3)  # of the marks in points: from, to, step
NAMES = {"initialisation": "after regression"}


def has_frontier(table: pd.DataFrame) -> bool:
    """Whether an ablation's table has both axes and more than one setting."""
    return table["setting"].nunique() > 1 and all(f"{name} mean" in table for name in (SENSITIVITY, FIDELITY))


def draw_frontier(axis: Axes, rows: pd.DataFrame, colours: dict[str, str]) -> None:
    """One kind of direction: settings in their order, joined by a line, with larger and larger marks.

    Bars are 95 % intervals over seeds, as far as the axes reach. What no setting changes is one mark.
    """
    means = rows[[f"{name} mean" for name in (FIDELITY, SENSITIVITY)]]
    low, high = means.min() - MARGIN, means.max() + MARGIN  # wide intervals of few seeds leave the axes
    axis.set(xlim=(low.iloc[0], high.iloc[0]), ylim=(low.iloc[1], high.iloc[1]))
    for variant, style in variant_line_styles(rows["variant"]).items():
        own = rows[rows["variant"] == variant].drop_duplicates([f"{name} mean" for name in (SENSITIVITY, FIDELITY)])
        x, y = own[f"{FIDELITY} mean"], own[f"{SENSITIVITY} mean"]
        across, along = (
            [own[f"{name} mean"] - own[f"{name} low"], own[f"{name} high"] - own[f"{name} mean"]]
            for name in (FIDELITY, SENSITIVITY)
        )
        colour = colours[variant]
        axis.errorbar(x, y, xerr=across, yerr=along, ls="none", ecolor=colour, elinewidth=0.8, alpha=0.3)
        label = NAMES.get(variant, variant).replace("_", " ")
        axis.plot(x, y, **style | {"color": colour}, markersize=SIZES[0], lw=1.6, label=label)
        for place, size in zip(zip(x, y, strict=True), range(*SIZES), strict=False):
            axis.plot(*place, marker=style["marker"], color=colour, markersize=size, ls="none")


def frontier(table: pd.DataFrame, *, title: str = "") -> Figure:
    """A panel per kind of direction of an ablation's table that :func:`has_frontier`; up and to the right is better."""
    kinds = list(dict.fromkeys(table["directions"]))
    size = (4.4 * len(kinds) + 1.6, 3.8)
    figure, axes = plt.subplots(1, len(kinds), figsize=size, dpi=DPI, squeeze=False, layout="constrained")
    for axis, kind in zip(axes[0], kinds, strict=True):
        draw_frontier(axis, table[table["directions"] == kind], PALETTE)
        axis.set(title=f"{kind.replace('_', ' ')} directions", xlabel=f"{FIDELITY} ↑")
    axes[0][0].set_ylabel(f"{SENSITIVITY} ↑")
    axes[0][-1].legend(loc="upper left", bbox_to_anchor=(1.02, 1), title="larger marks: larger values", frameon=False)
    figure.suptitle(title)
    return figure
