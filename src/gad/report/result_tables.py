"""How tables of ``results/`` are laid out in Markdown: no line is wider than a page of 120 characters."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from gad.evaluation.sensitivity.initialisation import INITIALISATION
from gad.report.format import format_cell, format_difference
from gad.report.recorded_metric import Metric
from gad.runtime.files import read_json
from gad.runtime.paths import RESULTS

WIDTH = 120  # characters of a line of Markdown
NAMES = {
    INITIALISATION: "at initialisation",
    "initialisation": "at initialisation, after regression",
    "baseline": "baseline",
    "equal_time": "1.5x training (equal compute)",
    "noise_augmentation": "noise augmentation",
    "diversity_regulariser": "diversity regulariser",
    "random_gradient": "random gradient",
    "random_gradient_bounded": "random gradient, bounded",
    "gad_other_pair": "GAD, another pair's response",
    "teacher_first_step": "baseline, teacher's first step",
    "teacher_first_step_unguided": "the same without guidance",
    "first_step_anchor": "anchor at the first step alone",
    "pointwise_anchor": "pointwise anchor",
    "gad": "GAD (response)",
    "gad_anchor": "GAD + anchor",
    "gad_score": "GAD, score form as printed",
    "gad_score_fixed": "GAD, score form repaired",
    "gad_released": "GAD, released code (Huang et al.)",
}


@dataclass(frozen=True)
class Table:
    """A table a topic: its metrics in columns; in rows recipes, by their titles, and their variants.

    Where ``change`` names a variant, a recipe's last row is its difference to the baseline.
    """

    recipes: dict[str, str]
    topics: dict[str, tuple[Metric, ...]]
    variants: tuple[str, ...]
    change: str | None = None

    def lines(self) -> list[str]:
        results = _read_results(self.recipes)
        for metric in chain(*self.topics.values()):
            if not any(metric.estimate(found, name) for found in results.values() for name in self.variants):
                raise ValueError(f"no result holds {metric.name!r} of {metric.group!r}, which a table shows")
        return _under_titles({topic: self._topic(results, metrics) for topic, metrics in self.topics.items()})

    def _topic(self, results: dict[str, dict], metrics: tuple[Metric, ...]) -> list[str]:
        rows = []
        for recipe, title in self.recipes.items():
            if title:
                rows.append([f"**{title}**", *("" for _ in metrics)])
            rows += self._rows(results[recipe], metrics)
        return markdown_table(["", *(metric.label for metric in metrics)], rows)

    def _rows(self, found: dict, metrics: tuple[Metric, ...]) -> Iterator[list[str]]:
        for variant in self.variants:
            cells = [format_cell(metric.estimate(found, variant)) for metric in metrics]
            if any(cells):
                yield [NAMES.get(variant, variant), *cells]
        if self.change:
            yield ["GAD − baseline", *(format_difference(*metric.difference(found, self.change)) for metric in metrics)]


@dataclass(frozen=True)
class Overview:
    """A row a recipe: one metric at initialisation and of the baseline, and what each variant changes it by.

    Those of the front page stand in one table, without recipes and what was at initialisation; else there are two.
    """

    rows: dict[str, tuple[str, Metric]]
    variants: tuple[str, ...]
    label: str
    narrow: bool = False

    def lines(self) -> list[str]:
        results = _read_results(self.rows)
        changes_of = [f"{NAMES[name]}: change" for name in self.variants]
        changes = {recipe: self._changes(results[recipe], metric) for recipe, (_, metric) in self.rows.items()}
        if self.narrow:
            rows = [
                [title, *self._base(results[recipe], metric), *changes[recipe]]
                for recipe, (title, metric) in self.rows.items()
            ]
            return markdown_table(["", "seeds", f"{self.label}, baseline", *changes_of], rows)
        levels = []
        for recipe, (title, metric) in self.rows.items():
            begun = (metric.estimate(results[recipe], name) for name in (INITIALISATION, "initialisation"))
            seeds, base = self._base(results[recipe], metric)
            levels.append([f"{title} (`{recipe}`)", seeds, format_cell(next(filter(None, begun), None)), base])
        level = markdown_table(["", "seeds", f"{self.label}, {NAMES[INITIALISATION]}", "baseline"], levels)
        change = markdown_table(["", *changes_of], [[f"`{recipe}`", *cells] for recipe, cells in changes.items()])
        return [*level, "", *change]

    def _base(self, found: dict, metric: Metric) -> list[str]:
        base = metric.estimate(found, "baseline")
        assert base is not None, "a recipe has a baseline"
        return [str(base["n"]), format_cell(base)]

    def _changes(self, found: dict, metric: Metric) -> list[str]:
        return [format_difference(*metric.difference(found, name)) for name in self.variants]


@dataclass(frozen=True)
class Contrasts:
    """Primary contrasts: a table a reference and topic, recipes that have it in rows and outcomes in columns, then the
    detectable effects of the same."""

    recipes: dict[str, str]
    references: dict[str, str]

    def lines(self) -> list[str]:
        found = {
            (recipe, row["reference"], row["outcome"]): row
            for recipe in self.recipes
            for row in read_json(RESULTS / f"{recipe}.json")["contrasts"]
        }
        outcomes = dict.fromkeys(outcome for _, _, outcome in found)
        topics: dict[str, list[str]] = {}
        for outcome in outcomes:
            topics.setdefault("response" if outcome.startswith("JVP") else "outputs", []).append(outcome)
        tables = {}
        for reference, title in self.references.items():
            for name, cell in (("", _contrast), (", minimum detectable effect", _detectable)):
                for topic, shown in topics.items():
                    cells = {
                        label: [cell(found.get((recipe, reference, outcome))) for outcome in shown]
                        for recipe, label in self.recipes.items()
                    }
                    rows = [[label, *own] for label, own in cells.items() if any(own)]
                    if rows:
                        tables[f"GAD − {title}, {topic}{name}"] = markdown_table(["", *map(_short, shown)], rows)
        return _under_titles(tables)


def _short(outcome: str) -> str:
    """An outcome as a table names it that says h beside it."""
    return re.sub(r", h = [\d.]+", "", outcome)


def _detectable(row: dict | None) -> str:
    return f"{row['minimum_detectable']:.3f}" if row else ""


def _contrast(row: dict | None) -> str:
    """A difference with its adjusted interval, bold where Holm's p is below 0.05."""
    if row is None:
        return ""
    cell = f"{row['mean']:.3f}\N{NO-BREAK SPACE}[{row['low']:.3f}, {row['high']:.3f}]"
    return f"**{cell}**" if row["p_holm"] < 0.05 else cell


def _read_results(recipes: Iterable[str]) -> dict[str, dict]:
    """The metrics of each recipe, with those of the network that its students start from where they were measured."""
    results = {name: read_json(RESULTS / f"{name}.json")["metrics"] for name in recipes}
    for name, start in read_json(RESULTS / "at_initialisation.json").items():
        for kind, values in start["metrics"]["sensitivity"].items():
            if name in results:
                results[name]["sensitivity"][kind] |= values
    return results


def _under_titles(tables: dict[str, list[str]]) -> list[str]:
    """The lines of tables, each below its title, with empty lines between."""
    parts = [[f"*{title}*", "", *lines] for title, lines in tables.items()]
    return [line for part in parts for line in [*part, ""]][:-1]


def markdown_table(head: list[str], rows: list[list[str]]) -> list[str]:
    """The lines of a table. Raises ValueError for one that is wider than a page."""
    lines = [_line(head), "|" + "---|" * len(head), *map(_line, rows)]
    widest = max(lines, key=len)
    if len(widest) > WIDTH:
        raise ValueError(
            f"a table of Markdown is {len(widest)} characters wide, a page {WIDTH}: {widest[:60]}...; split it"
        )
    return lines


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |" if cells[0] else "| | " + " | ".join(cells[1:]) + " |"
