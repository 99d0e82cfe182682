"""Tables of ``results/`` in Markdown: a cell is a mean with its 95 % interval."""

from collections.abc import Iterator
from dataclasses import dataclass

from gad.evaluation.sensitivity.initialisation import UNTRAINED
from gad.paper.numbers import number
from gad.runtime.files import read_json
from gad.runtime.paths import RESULTS

NAMES = {
    UNTRAINED: "before training",
    "baseline": "baseline",
    "equal_time": "half as many steps more",
    "noise_augmentation": "noise augmentation",
    "diversity_regulariser": "diversity regulariser",
    "random_gradient": "random gradient",
    "pointwise_anchor": "pointwise anchor",
    "gad": "GAD (response)",
    "gad_anchor": "GAD + anchor",
    "gad_score": "GAD, score form as printed",
    "gad_score_fixed": "GAD, score form repaired",
    "gad_released": "GAD, authors' script",
}
ALONE = " †"  # after an interval for other seeds alone


@dataclass(frozen=True)
class Metric:
    """A number of ``results/<recipe>.json`` under the name that a table gives it."""

    label: str
    stage: str
    group: str
    name: str

    def estimate(self, metrics: dict, variant: str) -> dict | None:
        """Mean and 95 % interval over seeds of a variant."""
        return _found(metrics[self.stage].get(self.group, {}), variant, self.name)

    def difference(self, metrics: dict, variant: str) -> tuple[dict | None, bool]:
        """Mean and 95 % interval of a variant's difference to the baseline; whether it covers other samples too."""
        found = metrics[self.stage]
        names = (f"{self.name}, {by}" for by in (self.group, "by prompt", "by image"))  # what it is paired by
        quoted = (_found(found.get("two_level", {}), variant, name) for name in names)
        both = next(filter(None, quoted), None)
        group = f"{self.group.removeprefix('over_seeds')}_minus_baseline".removeprefix("_")
        return both or _found(found.get(group, {}), variant, self.name), both is not None


def _found(group: dict, variant: str, name: str) -> dict | None:
    found = group.get(variant, {}).get(name)
    return found if found and found["mean"] is not None else None


@dataclass(frozen=True)
class Table:
    """Recipes under titles; by metric (a column a variant, and GAD's difference) or by variant (a column a metric)."""

    recipes: dict[str, str]
    metrics: tuple[Metric, ...]
    variants: tuple[str, ...]
    by_metric: bool

    def lines(self) -> list[str]:
        results = read_results(self.recipes)
        for metric in self.metrics:
            if not any(metric.estimate(found, name) for found in results.values() for name in self.variants):
                raise ValueError(f"no result holds {metric.name!r} of {metric.group!r}, which a table names")
        columns = [NAMES.get(name, name) for name in self.variants] + ["GAD − baseline"]
        head = ["", *(columns if self.by_metric else [metric.label for metric in self.metrics])]
        rows = []
        for recipe, title in self.recipes.items():
            if title:
                rows.append([f"**{title}**", *("" for _ in head[1:])])
            rows += self._by_metric(results[recipe]) if self.by_metric else self._by_variant(results[recipe])
        return markdown(head, rows)

    def _by_metric(self, metrics: dict) -> Iterator[list[str]]:
        for metric in self.metrics:
            cells = (cell(metric.estimate(metrics, variant)) for variant in self.variants)
            yield [metric.label, *cells, difference_cell(*metric.difference(metrics, "gad"))]

    def _by_variant(self, metrics: dict) -> Iterator[list[str]]:
        for variant in self.variants:
            cells = [cell(metric.estimate(metrics, variant)) for metric in self.metrics]
            if any(cells):
                yield [NAMES.get(variant, variant), *cells]


@dataclass(frozen=True)
class Overview:
    """A row a recipe: one metric before training and of the baseline, and what each variant changes it by."""

    rows: dict[str, tuple[str, Metric]]
    variants: tuple[str, ...]
    label: str

    def lines(self) -> list[str]:
        results = read_results(self.rows)
        columns = [
            f"{self.label}, {NAMES[UNTRAINED]}",
            "baseline",
            *(f"{NAMES[name]}: change" for name in self.variants),
        ]
        rows = []
        for recipe, (title, metric) in self.rows.items():
            base = metric.estimate(results[recipe], "baseline")
            changes = (difference_cell(*metric.difference(results[recipe], name)) for name in self.variants)
            start = cell(metric.estimate(results[recipe], UNTRAINED))
            rows.append([f"{title} (`{recipe}`)", str(base["n"]), start, cell(base), *changes])
        return markdown(["", "seeds", *columns], rows)


def read_results(recipes) -> dict[str, dict]:
    """The metrics of each recipe, with those of the network that its students start from where they were measured."""
    results = {name: read_json(RESULTS / f"{name}.json")["metrics"] for name in recipes}
    for name, start in read_json(RESULTS / "untrained.json").items():
        for kind, values in start["metrics"]["sensitivity"].items():
            if name in results:
                results[name]["sensitivity"][kind] |= values
    return results


def markdown(head: list[str], rows: list[list[str]]) -> list[str]:
    """The lines of a table."""
    return [_line(head), "|" + "---|" * len(head), *map(_line, rows)]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |" if cells[0] else "| | " + " | ".join(cells[1:]) + " |"


def cell(estimate: dict | None) -> str:
    """A mean with its interval, or alone where there is one seed or none."""
    if not estimate or estimate["low"] is None:
        return f"{estimate['mean']:.3g}" if estimate else ""
    return number(estimate)


def difference_cell(estimate: dict | None, both: bool) -> str:
    """A difference; bold where its interval, for other seeds and other samples, does not hold 0."""
    if not estimate or estimate["low"] is None:
        return cell(estimate)
    if not both:
        return number(estimate) + ALONE
    return f"**{number(estimate)}**" if estimate["low"] * estimate["high"] > 0 else number(estimate)
