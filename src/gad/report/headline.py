"""The headline numbers of a recipe: what DVC tracks as its metrics, and the first table of its report."""

from dataclasses import dataclass

import pandas as pd

from gad.config.variants import VARIANTS
from gad.report.direction_kinds import direction_kind_title, direction_kinds
from gad.report.format import format_cell, format_difference, format_unbroken
from gad.report.recorded_metric import Metric
from gad.runtime.files import write_json
from gad.runtime.paths import metrics_file

HEADLINE = "headline"  # data/<recipe>/metrics/headline.json


@dataclass(frozen=True)
class Headline:
    """A headline number: its short name in DVC's views, which way is better, and where the metrics hold it."""

    name: str
    better: str
    metric: Metric

    @property
    def label(self) -> str:
        """As a table names it, "JVP cosine ↑"."""
        return f"{self.metric.label} {self.better}"


def headline_directions(sensitivity: dict) -> str:
    """The kind of direction of the headline numbers: isotropic over a finite step where it is measured (images)."""
    kinds = direction_kinds(sensitivity)
    return next((kind for kind in kinds if kind.startswith("isotropic, h = ")), kinds[0])


def headlines(metrics: dict[str, dict]) -> list[Headline]:
    """The headline numbers that a recipe's baseline has: response, its size, seeds or modes, fidelity.

    ``metrics`` are those of its stages; a number of a stage that is missing there is left out.
    """
    kind = headline_directions(metrics["sensitivity"]) if "sensitivity" in metrics else ""
    seeds = Metric("seed retrieval accuracy", "control", "over_seeds", "seed_retrieval_accuracy")
    frechet = Metric("Fréchet distance to the teacher", "fidelity", "fidelity", "frechet_to_teacher")
    subjects = (
        [Headline("cosine", "↑", Metric("JVP cosine", "sensitivity", kind, "jvp_cosine"))],
        [Headline("gain", "→ 1", Metric("median gain", "sensitivity", kind, "gain_median"))],
        [
            Headline("seeds", "↑", seeds),
            Headline("modes", "↑", Metric("mode coverage", "control", "over_seeds", "mode_coverage")),
        ],
        [
            Headline("frechet", "↓", frechet),
            Headline("map_error", "↓", Metric("map error", "sensitivity", kind, "pointwise_mse")),
        ],
    )
    found = ([each for each in subject if _is_measured(each.metric, metrics)] for subject in subjects)
    return [measured[0] for measured in found if measured]


def _is_measured(metric: Metric, metrics: dict[str, dict]) -> bool:
    return metric.stage in metrics and metric.estimate(metrics, "baseline") is not None


def headline_numbers(metrics: dict[str, dict]) -> dict[str, dict[str, float]]:
    """Means over student seeds of ``baseline`` and ``gad`` by short name, nine numbers at most.

    The JVP cosine has its ``change`` as well: GAD's less the baseline's, as paired as the metrics have it.
    """
    numbers: dict[str, dict[str, float]] = {}
    for headline in headlines(metrics):
        estimates = {name: headline.metric.estimate(metrics, name) for name in ("baseline", "gad")}
        if headline.name == "cosine":
            estimates["change"], _ = headline.metric.difference(metrics, "gad")
        numbers[headline.name] = {name: found["mean"] for name, found in estimates.items() if found is not None}
    return numbers


def save_headline_numbers(recipe: str, metrics: dict[str, dict]) -> None:
    """Write :func:`headline_numbers` to ``data/<recipe>/metrics/headline.json``, which ``dvc metrics`` shows."""
    write_json(metrics_file(recipe, HEADLINE), headline_numbers(metrics))


def headline_table(metrics: dict[str, dict]) -> pd.DataFrame:
    """A row per model, the teacher first, a column per headline number: mean over student seeds [95 % interval].

    The last row is GAD's difference to the baseline, as :func:`gad.report.format.format_difference` writes it.
    """
    rows = []
    for model in ("teacher", *VARIANTS):
        estimates = {each.label: each.metric.estimate(metrics, model) for each in headlines(metrics)}
        known = [estimate for estimate in estimates.values() if estimate is not None]
        if known:
            seeds = "" if model == "teacher" else str(known[0]["n"])
            cells = {label: format_unbroken(format_cell(estimate)) for label, estimate in estimates.items()}
            rows.append({"model": model.replace("_", " "), "seeds": seeds} | cells)
    changes = {each.label: each.metric.difference(metrics, "gad") for each in headlines(metrics)}
    if any(change is not None for change, _ in changes.values()):
        cells = {name: format_unbroken(format_difference(*change)).replace("*", "") for name, change in changes.items()}
        rows.append({"model": "gad − baseline", "seeds": ""} | cells)
    return pd.DataFrame(rows)


def headline_caption(metrics: dict[str, dict]) -> str:
    """What the cells of :func:`headline_table` are."""
    kind = direction_kind_title(headline_directions(metrics["sensitivity"]))
    return (
        f"Mean over student seeds [95 % t interval]; derivatives along {kind}. The last row is paired by seed, "
        "noise and prompt, its intervals over other seeds and other noises († over other seeds alone)."
    )
