"""The index page over all recipes."""

import html
from pathlib import Path

import pandas as pd

from gad.report.headline import headline_caption, headline_table
from gad.report.main_results import main_result_metrics, main_result_tables
from gad.report.notebook_html import markdown_html
from gad.report.page_style import BODY, INDEX
from gad.report.primary_contrasts import primary_contrasts
from gad.report.verdict import verdict
from gad.runtime.atomic import atomic_write_path
from gad.runtime.files import read_json, write_json
from gad.runtime.paths import REPORTS


def save_index_summary(recipe: str, provenance: dict, figures: dict) -> None:
    """What the index needs of a recipe: its numbers, provenance and main figures, in ``reports/<recipe>``."""
    folder = REPORTS / recipe
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        with atomic_write_path(folder / "figures" / f"{name}.png") as partial:
            figure.savefig(partial, format="png", bbox_inches="tight")
    metrics = main_result_metrics(recipe)
    summary = {"verdict": verdict(metrics), "metrics": metrics, "contrasts": primary_contrasts(recipe)}
    summary |= {"provenance": provenance, "figures": list(figures)}
    write_json(folder / "summary.json", summary)


def _recipe_section(folder: Path) -> str:
    summary = read_json(folder / "summary.json")
    pages = " ".join(
        f'<a href="{folder.name}/{page.name}">{page.stem}</a>'
        for page in sorted(folder.glob("*.html"), key=lambda path: (path.stem != "report", path.stem))
        if not page.name.startswith(".")
    )
    first, *others = (
        f'<img src="{folder.name}/figures/{name}.png" alt="{html.escape(name)}">' for name in summary["figures"]
    )
    facts = {key: value for key, value in summary["provenance"].items() if not isinstance(value, dict)}
    facts |= {f"{key} of packages": value for key, value in summary["provenance"].items() if key == "versions"}
    facts["section hashes"] = summary["provenance"]["section_hashes"]
    tables = "".join(
        f"<h3>{html.escape(title)}</h3>{numbers.to_html(index=False)}"
        for title, numbers in main_result_tables(summary["metrics"]).items()
    )
    table = pd.DataFrame([(key, str(value)) for key, value in facts.items()], columns=["provenance", ""])
    return (
        f"<h2 id='{folder.name}'>{folder.name}</h2><nav>{pages}</nav>{markdown_html(verdict(summary['metrics']))}"
        f"{first}{headline_table(summary['metrics']).to_html(index=False)}"
        f"<p class='note'>{headline_caption(summary['metrics'])}</p>"
        f"<details><summary>All main numbers and figures</summary>{tables}{''.join(others)}</details>"
        f"<details><summary>Provenance</summary>{table.to_html(index=False)}</details>"
    )


def write_index() -> Path:
    """``reports/index.html`` over every recipe that has a report; returns its path."""
    folders = sorted(path.parent for path in REPORTS.glob("*/summary.json"))
    links = " ".join(f'<a href="#{folder.name}">{folder.name}</a>' for folder in folders)
    sections = "".join(_recipe_section(folder) for folder in folders)
    page = (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>GAD reports</title><style>{BODY}{INDEX}</style>"
        f"<h1>Does geometry-aware distillation restore the noise?</h1><nav>{links}</nav>"
        "<p class='note'>Emoji scores come from evaluators trained on rendered scenes; "
        "they say nothing about photographs.</p>"
        f"{sections}</html>"
    )
    path = REPORTS / "index.html"
    with atomic_write_path(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path
