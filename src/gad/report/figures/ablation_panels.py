"""An ablation: each metric against the settings, variants in their colours, and what the paper has of it."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gad.report.figures.style import DPI, PALETTE, style_order

SPREAD = 0.5  # of a setting's row, over which its variants lie


def _marks(axis: Axes, rows: pd.DataFrame, column: str, settings: list[str]) -> None:
    """A mark with its interval per setting and variant; one seed has no interval."""
    names = style_order(rows["variant"])
    for number, variant in enumerate(names):
        own = rows[rows["variant"] == variant].set_index("setting").reindex(settings)
        y = np.arange(len(settings)) + SPREAD * ((number + 0.5) / len(names) - 0.5)
        mean = own[f"{column} mean"]
        bars = [(mean - own[f"{column} low"]).fillna(0), (own[f"{column} high"] - mean).fillna(0)]
        axis.errorbar(
            mean, y, xerr=bars, fmt="os^Dvp"[number % 6], color=PALETTE[variant], markersize=5, capsize=2.5,
            linewidth=1.2, label=variant.replace("_", " "),
        )  # fmt: skip


def ablation_marks(table: pd.DataFrame, *, title: str = "", paper: pd.DataFrame | None = None) -> Figure:
    """A panel per metric of an ablation's table: mean and 95 % interval per setting and variant.

    ``paper`` has a row per setting of the paper's table, as :func:`gad.report.paper.paper_ablation` gives it; its Vendi
    score gets a panel of its own, because nothing of it can be compared but the order.
    """
    table = table[table["directions"] == table["directions"].iloc[-1]]
    settings = list(dict.fromkeys(table["setting"]))
    means = [name for name in table if name.endswith(" mean") and table[name].notna().any()]
    columns = [name.removesuffix(" mean") for name in means if "minus baseline" not in name]  # those are in the table
    panels = len(columns) + (paper is not None)
    rows = max(len(settings) * max(1, table["variant"].nunique() / 3), 0 if paper is None else len(paper) * 0.8)
    width = 0.075 * max(map(len, settings)) + 2.2 * panels + (1.6 if paper is not None else 0) + 1.8
    size = (width, 1.4 + 0.5 * rows)
    # constrained: room for labels only where there are any
    figure, axes = plt.subplots(1, panels, figsize=size, dpi=DPI, squeeze=False, layout="constrained")
    for axis, column in zip(axes[0], columns, strict=False):
        _marks(axis, table, column, settings)
        first = axis is axes[0][0]
        axis.set(xlabel=column, ylim=(len(settings) - 0.5, -0.5))
        axis.set_yticks(range(len(settings)), settings if first else [""] * len(settings), fontsize=9)
        axis.tick_params(axis="x", labelsize=9)
        axis.locator_params(axis="x", nbins=3)
    if paper is not None:
        axis = axes[0][-1]
        axis.plot(paper["Vendi"], range(len(paper)), "o", color="#c51b7d", markersize=5)
        axis.set(xlabel=f"paper, Table {paper['table'].iloc[0]}: Vendi", ylim=(len(paper) - 0.5, -0.5))
        axis.set_yticks(range(len(paper)), paper["setting"], fontsize=9)
        axis.tick_params(axis="x", labelsize=9)
        axis.locator_params(axis="x", nbins=3)
    axes[0][-1].legend(
        *axes[0][0].get_legend_handles_labels(), loc="upper left", bbox_to_anchor=(1.02, 1), fontsize=9, frameon=False
    )
    figure.suptitle(title)
    return figure
