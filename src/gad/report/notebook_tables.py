"""Tables of a notebook: means over student seeds with their intervals, under a caption that says what they are of."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import display
from pandas.io.formats.style import Styler

from gad.metrics.statistics import t_interval_over_seeds
from gad.report.figures.style import style_order
from gad.report.format import format_unbroken

SEEDS = "mean over student seeds [95 % t interval]"  # what a cell of these tables holds


def notebook_seed_summary(table: pd.DataFrame, columns: dict[str, str], *, by: Sequence[str] = ()) -> pd.DataFrame:
    """A row per model (and entry of ``by``), a column per number under its label: mean over seeds with interval.

    ``table`` has a row per variant and seed; columns that it lacks are left out, and so are numbers that are missing.
    """
    rows, labels = [], {name: label for name, label in columns.items() if name in table}
    for key, group in table.groupby(list(by), sort=False) if by else [((), table)]:
        for variant in style_order(group["variant"]):
            own = group[group["variant"] == variant]
            row = dict(zip(by, key, strict=True)) | {"model": variant, "seeds": len(own)}
            for name, label in labels.items():
                row[label] = str(t_interval_over_seeds(own[name])) if own[name].notna().any() else ""
            rows.append(row)
    return pd.DataFrame(rows)


def notebook_summary_columns(table: pd.DataFrame, *starts: str) -> dict[str, str]:
    """The columns of a table whose names begin so, with their names in words."""
    return {name: name.replace("_", " ") for name in table if name.startswith(starts)}


def captioned_notebook_table(table: pd.DataFrame, caption: str) -> Styler:
    """The table without its index, the caption above it."""
    styles = [{"selector": "caption", "props": "text-align: left; caption-side: top"}]
    return table.style.hide().format(_cell, na_rep="").set_caption(caption).set_table_styles(styles)


def _cell(value: object) -> str:
    """A float to four decimals; no line break within an interval."""
    return f"{value:.4f}" if isinstance(value, float) else format_unbroken(str(value))


def show_notebook_table(table: pd.DataFrame, caption: str = "") -> None:
    """Display a table under its caption, after the figures that the cell has drawn; nothing where it has no rows."""
    if "inline" in plt.get_backend():  # which keeps figures for the end of the cell
        plt.show()
    if len(table):
        display(captioned_notebook_table(table, caption))


def show_notebook_summary(
    table: pd.DataFrame,
    columns: dict[str, str],
    caption: str = "",
    *,
    by: Sequence[str] = (),
    models_across: bool = False,
) -> None:
    """Display :func:`notebook_seed_summary`, with ``models_across`` a column per model; nothing where there is none of
    the columns."""
    found = notebook_seed_summary(table, columns, by=by) if len(table) else table
    labels = [label for label in columns.values() if label in found]
    if not labels:
        return
    if models_across:
        found = found.set_index("model")[labels].T.rename_axis(columns=None).reset_index(names="")
    show_notebook_table(found, f"{caption}{': ' if caption else ''}{SEEDS}")
