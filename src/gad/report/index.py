"""The index page over all recipes."""

import html
from pathlib import Path

import pandas as pd

from gad.report.main_results import main_result_metrics, main_result_tables
from gad.runtime.atomic import atomic_write_path
from gad.runtime.files import read_json, write_json
from gad.runtime.paths import REPORTS

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2.5rem; border-top: 1px solid #ccc; padding-top: 1rem }
table { border-collapse: collapse; font-size: 14px; margin: .6rem 0 1.2rem; display: block; overflow-x: auto }
th, td { border-bottom: 1px solid #ddd; padding: .25rem .7rem; text-align: left; vertical-align: top }
th { background: #f3f4f6 } img { max-width: 100%; display: block; margin: .8rem 0 }
nav a { margin-right: 1rem } .note { color: #555; font-size: 14px }
"""


def save_index_summary(recipe: str, provenance: dict, figures: dict) -> None:
    """What the index needs of a recipe: its numbers, provenance and main figures, in ``reports/<recipe>``."""
    folder = REPORTS / recipe
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        with atomic_write_path(folder / "figures" / f"{name}.png") as partial:
            figure.savefig(partial, format="png", bbox_inches="tight")
    summary = {"metrics": main_result_metrics(recipe), "provenance": provenance, "figures": list(figures)}
    write_json(folder / "summary.json", summary)


def _recipe_section(folder: Path) -> str:
    summary = read_json(folder / "summary.json")
    pages = " ".join(
        f'<a href="{folder.name}/{page.name}">{page.stem}</a>'
        for page in sorted(folder.glob("*.html"))
        if not page.name.startswith(".")
    )
    images = "".join(
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
        f"<h2 id='{folder.name}'>{folder.name}</h2><nav>{pages}</nav>"
        f"{tables}{images}"
        f"<details><summary>Provenance</summary>{table.to_html(index=False)}</details>"
    )


def write_index() -> Path:
    """``reports/index.html`` over every recipe that has a report; returns its path."""
    folders = sorted(path.parent for path in REPORTS.glob("*/summary.json"))
    links = " ".join(f'<a href="#{folder.name}">{folder.name}</a>' for folder in folders)
    sections = "".join(_recipe_section(folder) for folder in folders)
    page = (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>GAD reports</title><style>{STYLE}</style>"
        f"<h1>Does geometry-aware distillation restore the noise?</h1><nav>{links}</nav>"
        "<p class='note'>Means over student seeds with 95 % t intervals; the teacher has no seeds. Emoji scores "
        "come from evaluators trained on rendered scenes and say nothing about photographs.</p>"
        f"{sections}</html>"
    )
    path = REPORTS / "index.html"
    with atomic_write_path(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path
