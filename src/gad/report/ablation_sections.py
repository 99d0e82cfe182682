"""The report's sections on ablations: what was recorded of the recipe's, as figures and tables."""

import pandas as pd
from matplotlib.figure import Figure

from gad.report import figures, paper
from gad.report.ablations import load_ablations, recorded_ablation_tables
from gad.report.page_tables import ablation_page_table
from gad.report.retained_gain import recorded_retained_gain


def frontier_report_section(recipe: str) -> Figure | None:
    """Sensitivity against fidelity over the weights of a recorded sweep on validation noises; None without one."""
    known = load_ablations()
    for name, (heading, rows) in recorded_ablation_tables(recipe, known).items():
        if name in known and known[name].noises == "validation" and figures.has_frontier(rows):
            return figures.frontier(rows, title=heading)
    return None


def ablation_figures_report_section(recipe: str) -> dict[str, Figure]:
    """A figure per recorded ablation of the recipe, ``ablation_<name>``."""
    return {
        f"ablation_{name}": figures.ablation_marks(rows, title=heading, paper=paper.paper_ablation(name.split("_")[0]))
        for name, (heading, rows) in recorded_ablation_tables(recipe, load_ablations()).items()
    }


def ablation_tables_report_section(recipe: str) -> list[tuple[str, pd.DataFrame]]:
    """Caption and table of each recorded ablation, and of the gains that cheaper settings retain."""
    tables = []
    for name, (heading, rows) in recorded_ablation_tables(recipe, load_ablations()).items():
        tables.append((heading, ablation_page_table(rows)))
        retained = recorded_retained_gain(name)
        if retained is not None:
            caption = f"{heading}: retained gain, the share of the first setting's gain over the baseline"
            tables.append((f"{caption}, paired by seed [Fieller's 95 % interval]", ablation_page_table(retained)))
    return tables
