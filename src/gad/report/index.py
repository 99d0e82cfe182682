"""What a report shows of a recipe beside its main numbers, and the index page over all recipes."""

import html
from pathlib import Path

import pandas as pd
from pandas.io.formats.style import Styler

from gad.metrics.summary import direction_kinds
from gad.report.format import format_estimate, format_unbroken
from gad.report.main_results import direction_kinds_read, main_result_tables, main_results
from gad.runtime.files import atomic_write_path, read_json, write_json
from gad.runtime.paths import REPORTS, RESULTS, metrics_file

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2.5rem; border-top: 1px solid #ccc; padding-top: 1rem }
table { border-collapse: collapse; font-size: 14px; margin: .6rem 0 1.2rem; display: block; overflow-x: auto }
th, td { border-bottom: 1px solid #ddd; padding: .25rem .7rem; text-align: left; vertical-align: top }
th { background: #f3f4f6 } img { max-width: 100%; display: block; margin: .8rem 0 }
nav a { margin-right: 1rem } .note { color: #555; font-size: 14px }
"""


def recipe_metrics(recipe: str) -> dict[str, dict]:
    """The metrics of the stages `sensitivity`, `fidelity` and `control` of this run."""
    return {stage: read_json(metrics_file(recipe, stage)) for stage in ("sensitivity", "fidelity", "control")}


def styled_table(table: pd.DataFrame) -> Styler:
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


def folded_html(title: str, table: pd.DataFrame) -> str:
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
            row[metric] = format_estimate(estimate | {"n": int(estimate["n"])}) if estimate["mean"] is not None else ""
        rows.append(row)
    return pd.DataFrame(rows)


def committed_results(recipe: str) -> dict | None:
    """The long run's metrics and provenance that came with the project, if there are any."""
    path = RESULTS / f"{recipe}.json"
    return read_json(path) if path.exists() else None


def keep_committed_results(recipe: str) -> Path:
    """Copy a recipe's numbers and provenance to ``results/<recipe>.json``, to be committed; returns its path."""
    summary = read_json(REPORTS / recipe / "summary.json")
    path = RESULTS / f"{recipe}.json"
    write_json(path, {"metrics": summary["metrics"], "provenance": summary["provenance"]})
    return path


def beside_committed(metrics: dict[str, dict], committed: dict) -> pd.DataFrame:
    """This run's headline means beside the committed long run's, with the difference."""
    rows = []
    for label, (stage, group, metric) in main_results(metrics).items():
        groups = [group] if group else direction_kinds_read(metric, direction_kinds(metrics[stage]))
        for kind in groups:
            for variant, values in metrics[stage].get(kind, {}).items():
                other = committed["metrics"][stage].get(kind, {}).get(variant, {}).get(metric)
                if metric in values and other and None not in (values[metric]["mean"], other["mean"]):
                    row = {"metric": label if len(groups) == 1 else f"{label}, {kind}", "variant": variant}
                    row |= {"this run": format_estimate(values[metric]), "committed": format_estimate(other)}
                    rows.append(row | {"difference": f"{values[metric]['mean'] - other['mean']:+.3g}"})
    return pd.DataFrame(rows)


def changed_sections(facts: dict, committed: dict) -> str:
    """One line that names the recipe's sections that are not as they were in the committed run, by their hashes.

    ``facts`` is this run's provenance. Where a section differs, so may the numbers, for that reason alone; a key that
    was added since, with its default, differs too. Sections that the committed run did not know are left out.
    """
    theirs = committed["provenance"]["section_hashes"]
    changed = [name for name, value in facts["section_hashes"].items() if theirs.get(name, value) != value]
    if not changed:
        return "the recipe is the committed run's"
    return f"sections of the recipe that differ from the committed run's: {', '.join(changed)}"


def save_index_summary(recipe: str, provenance: dict, figures: dict) -> None:
    """What the index needs of a recipe: its numbers, provenance and main figures, in ``reports/<recipe>``."""
    folder = REPORTS / recipe
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        with atomic_write_path(folder / "figures" / f"{name}.png") as partial:
            figure.savefig(partial, format="png", bbox_inches="tight")
    summary = {"metrics": recipe_metrics(recipe), "provenance": provenance, "figures": list(figures)}
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
