"""A sweep that is measured on validation noises: the ends of its held-out curves, so that weights are chosen elsewhere
than where students are compared.
"""

import pandas as pd

from gad.metrics.convergence import curve_metrics
from gad.metrics.statistics import Estimate, paired_difference, t_interval_over_seeds
from gad.report.ablations import METRICS, PAIRED, Ablation, ablation_setting_label

START = "initialisation"  # the row of what all variants start from: step 0 of the baseline's curves
COSINE = "jvp_cosine_"  # begins the names of the columns that have a kind of direction behind it


def _direction_kinds(curves: pd.DataFrame) -> list[str]:
    """The kinds of direction that curves have a JVP cosine for."""
    return [name.removeprefix(COSINE) for name in curve_metrics(list(curves)) if name.startswith(COSINE)]


def _by_seed(curves: pd.DataFrame, step: int, metric: str, kind: str) -> pd.Series:
    """A metric of the curves after ``step`` steps, by seed; empty where they do not have it."""
    rows = curves[curves["step"] == step].set_index("seed")
    name = metric if metric in rows else f"{metric}_{kind}"
    return rows[name] if name in rows else pd.Series(dtype=float)


def _columns(name: str, estimate: Estimate) -> dict[str, float]:
    return {f"{name} {part}": value for part, value in vars(estimate).items()}


def _row(curves: pd.DataFrame, step: int, kind: str, baseline: pd.DataFrame | None) -> dict[str, float]:
    """Each metric with its interval over seeds, and of some the difference to the baseline's end at equal seeds."""
    row: dict[str, float] = {}
    for column, (_, metric) in METRICS.items():
        values = _by_seed(curves, step, metric, kind)
        if values.empty:
            continue
        row |= _columns(column, t_interval_over_seeds(values.to_numpy()))
        if baseline is not None and column in PAIRED:
            pair = pd.concat([values, _by_seed(baseline, int(baseline["step"].max()), metric, kind)], axis=1).dropna()
            row |= _columns(f"{column}, minus baseline", paired_difference(*pair.to_numpy().T))
    return row


def validation_sweep_table(ablation: Ablation, curves: list[dict[str, pd.DataFrame] | None]) -> pd.DataFrame:
    """A row per setting, kind of direction and variant, as :func:`gad.report.ablations.ablation_result_table` has them.

    ``curves`` are each setting's held-out curves by variant, None where it is not recorded. Numbers are those after the
    last step, on validation noises and prompts, with 95 % intervals over seeds; ``START`` is the student before it.
    """
    rows = []
    for setting, by_variant in zip(ablation.settings, curves, strict=True):
        if by_variant is None:
            continue
        baseline = by_variant["baseline"]
        for kind in _direction_kinds(baseline):
            named = {"setting": ablation_setting_label(setting), "directions": kind}
            rows.append(named | {"variant": START} | _row(baseline, 0, kind, None))
            for variant in ablation.variants:
                own, less = by_variant[variant], None if variant == "baseline" else baseline
                rows.append(named | {"variant": variant} | _row(own, int(own["step"].max()), kind, less))
    return pd.DataFrame(rows)
