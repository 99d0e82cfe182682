"""Tables as a report's page shows them."""

import html

import pandas as pd
from pandas.io.formats.style import Styler

from gad.report.format import format_mean, format_unbroken


def styled_page_table(table: pd.DataFrame) -> Styler:
    """The table as a page shows it: no index, short numbers, no line break within an interval.

    What the columns "paper's table" and "comparable?" say of all rows alike stands above the table, once.
    """
    alike = [name for name in ("paper's table", "comparable?") if name in table and table[name].nunique() == 1]
    said = " · ".join(f"{name} {table[name].iloc[0]}" for name in alike)
    shown = table.drop(columns=alike).style.hide().format(_short, na_rep="")
    return shown.set_caption(said).set_table_styles([{"selector": "caption", "props": "text-align: left"}])


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return format_unbroken(str(value))


def folded_page_table(title: str, table: pd.DataFrame) -> str:
    """The table as HTML under a title that opens it."""
    return f"<details><summary>{html.escape(title)}</summary>{table.to_html(index=False)}</details>"


def ablation_page_table(table: pd.DataFrame) -> pd.DataFrame:
    """An ablation as it is read: a row per setting, directions and variant, each metric with its interval."""
    metrics = [name.removesuffix(" mean") for name in table if name.endswith(" mean")]
    rows = []
    for _, line in table.astype(object).where(table.notna(), None).iterrows():
        row = {key: line[key] for key in ("setting", "directions", "variant")}
        for metric in metrics:
            estimate = {part: line[f"{metric} {part}"] for part in ("mean", "low", "high", "n")}
            row[metric] = format_mean(estimate | {"n": int(estimate["n"])}) if estimate["mean"] is not None else ""
        rows.append(row)
    return pd.DataFrame(rows)
