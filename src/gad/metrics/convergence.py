"""Whether a student counts as trained: it shows what the teacher shows, and its last doubling has changed nothing."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import pandas as pd

from gad.metrics.statistics import Estimate

ENOUGH = 0.9  # of the teacher's object accuracy
ACCURACY = "object_accuracy"


@dataclass(frozen=True)
class Convergence:
    """A verdict; ``reasons`` are what a student lacks that is not converged."""

    reasons: tuple[str, ...] = ()

    @property
    def trained(self) -> bool:
        return not self.reasons

    def __str__(self) -> str:
        return "trained" if self.trained else f"not converged: {'; '.join(self.reasons)}"


def _half_width(*estimates: Estimate) -> float:
    """Half of the widest interval; NaN where one is missing."""
    halves = [(estimate.high - estimate.low) / 2 for estimate in estimates]
    return max(halves) if all(map(math.isfinite, halves)) else float("nan")


def convergence(
    before: Mapping[str, Estimate],
    after: Mapping[str, Estimate],
    *,
    accuracy: float | None = None,
    teacher_accuracy: float | None = None,
) -> Convergence:
    """Whether a student is trained, from its main metrics ``before`` and ``after`` the last doubling of its steps.

    Trained is a student whose object accuracy is at least 90 % of the teacher's, where it has one, and none of whose
    metrics has moved by more than the half-width of its 95 % interval (the wider of the two). A metric without an
    interval cannot show that it rests.
    """
    reasons = []
    if accuracy is not None and teacher_accuracy is not None and not accuracy >= ENOUGH * teacher_accuracy:
        reasons.append(f"object accuracy {accuracy:.2f} is below 90 % of the teacher's {teacher_accuracy:.2f}")
    for name, estimate in after.items():
        moved, allowed = abs(estimate.mean - before[name].mean), _half_width(before[name], estimate)
        if not moved <= allowed:
            reasons.append(f"{name.replace('_', ' ')} moved by {moved:.2g}, its interval is ±{allowed:.2g}")
    return Convergence(tuple(reasons))


def curve_metrics(columns: Collection[str]) -> list[str]:
    """The metrics among the columns of held-out curves: those with an interval beside them."""
    return [name for name in columns if f"{name}_low" in columns]


def _at(curves: pd.DataFrame, step: int) -> dict[str, Estimate]:
    """Every metric after ``step`` steps, its mean and its interval over prompts, both averaged over student seeds."""
    rows = curves[curves["step"] == step]
    means = rows.drop(columns="variant", errors="ignore").mean()
    return {
        name: Estimate(float(means[name]), float(means[f"{name}_low"]), float(means[f"{name}_high"]), len(rows))
        for name in curve_metrics(list(curves))
    }


def convergence_of_curves(curves: pd.DataFrame) -> Convergence:
    """:func:`convergence` of a variant from its held-out curves, a row per seed and step.

    The last doubling begins at the last measured step up to half of the last one. Intervals are over validation prompts
    and noises: a few seeds' interval would be too wide to notice anything.
    """
    last = int(curves["step"].max())
    earlier = curves.loc[(curves["step"] <= last / 2) & (curves["step"] > 0), "step"]
    if earlier.empty:
        return Convergence((f"{last} steps are too few: nothing was measured after half of them",))
    before, after = _at(curves, int(earlier.max())), _at(curves, last)
    if ACCURACY not in after:
        return convergence(before, after)
    teacher = float(curves[f"{ACCURACY}_teacher"].iloc[0])
    return convergence(before, after, accuracy=after[ACCURACY].mean, teacher_accuracy=teacher)
