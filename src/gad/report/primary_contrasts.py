"""Primary contrasts: GAD less what would explain its effect without a derivative, at outcomes named before the runs.

Noise augmentation trains on the same perturbed noises and compares no differences; the pointwise anchor is regression
to the same stored outputs. Where GAD exceeds neither of them, the derivative is not what helps.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from gad.data.swiss_roll import ARCS
from gad.metrics.paired import paired_values
from gad.metrics.statistics import CrossedEstimate, crossed_mean, effect_statistics, holm, mean_with_interval
from gad.runtime.paths import stage_dir

GAD = "gad"
REFERENCES = ("noise_augmentation", "pointwise_anchor", "baseline")  # the first two are primary, the last secondary


def _cosines(folder: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """The JVP cosine at every kind of direction, over a finite step where it is measured."""
    samples = pd.read_parquet(folder / "samples.parquet")
    kinds = samples["directions"].unique()
    finite = [kind for kind in kinds if ", h = " in kind]
    for kind in finite or kinds:
        rows = samples[samples["directions"] == kind]
        yield f"JVP cosine, {kind.replace('_', '-')} ↑", rows.assign(value=rows["jvp_cosine"])


def _seeds(folder: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """How often a classifier that has learnt from the teacher's images finds the seed of a student's."""
    if not (folder / "seeds.parquet").exists():
        return
    rows = pd.read_parquet(folder / "seeds.parquet")
    rows = rows[(rows["trained_on"] == "teacher") & (rows["train_prompts"] == rows["train_prompts"].max())]
    rows = rows.drop(columns="noise").rename(columns={"prompt": "noise", "right": "value"})
    yield "teacher-trained seed accuracy ↑", rows


def _objects(folder: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    rows = pd.read_parquet(folder / "fidelity.parquet") if (folder / "fidelity.parquet").exists() else pd.DataFrame()
    if "object_accuracy" in rows:
        yield "object accuracy ↑", rows.rename(columns={"sample": "noise", "object_accuracy": "value"})


def _diversity(folder: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """Seed retrieval, and modes covered: of sixteen arcs, or of styles and places for captions of one object."""
    rows = pd.read_parquet(folder / "diversity.parquet").rename(columns={"prompt": "noise"})
    if "seed_retrieval_accuracy" in rows:
        yield "seed retrieval accuracy ↑", rows.assign(value=rows["seed_retrieval_accuracy"])
    if "mode_coverage" in rows:
        yield "mode coverage", rows.dropna(subset="mode_coverage").assign(value=lambda rows: rows["mode_coverage"])
    elif "arc" in rows:
        arcs = rows.groupby(["variant", "seed", "noise"])["arc"].nunique() / ARCS
        yield "mode coverage", arcs.rename("value").reset_index()


READ: dict[str, tuple[Callable[[Path], Iterator[tuple[str, pd.DataFrame]]], ...]] = {
    "sensitivity": (_cosines, _seeds),
    "fidelity": (_objects,),
    "control": (_diversity,),
}


def primary_contrasts(recipe: str) -> list[dict]:
    """A row per reference and outcome: GAD's difference to the reference, at equal seeds and equal noises or prompts.

    ``mean`` with ``low`` and ``high``, a 95 % interval for other seeds and other noises, made wider (Bonferroni) so
    that those of one reference hold together · ``p_holm`` adjusted over the outcomes of the reference · ``n`` seeds,
    ``samples`` noises or prompts · ``minimum_detectable`` effect at 80 % power, before any adjustment. Empty where
    the recipe has one seed, or no GAD; a reference that shares fewer than two seeds with it is left out.
    """
    outcomes = {
        label: rows for stage, read in READ.items() for each in read for label, rows in each(stage_dir(recipe, stage))
    }
    return [row for reference in REFERENCES for row in _contrast(outcomes, reference)]


def _contrast(outcomes: dict[str, pd.DataFrame], reference: str) -> list[dict]:
    """The rows of one reference."""
    found = {}
    for label, rows in outcomes.items():
        values = _differences(rows, reference)
        if values is not None:
            found[label] = crossed_mean(values), values.shape[1]
    effects = [effect_statistics(**vars(estimate)) for estimate, _ in found.values()]
    adjusted = holm([effect.p for effect in effects])
    return [
        {"reference": reference, "outcome": label}
        | {"mean": estimate.mean, **_wider_interval(estimate, len(found)), "n": estimate.n, "samples": samples}
        | {"p_holm": float(p), "minimum_detectable": effect.minimum_detectable}
        for (label, (estimate, samples)), p, effect in zip(found.items(), adjusted, effects, strict=True)
    ]


def _differences(rows: pd.DataFrame, reference: str) -> np.ndarray | None:
    """GAD - reference ``[S, N]``; None where fewer than two seeds or samples have both."""
    if not {GAD, reference} <= set(rows["variant"]):
        return None
    values = paired_values(rows, "value", GAD, reference)
    return values if min(values.shape) > 1 else None


def _wider_interval(estimate: CrossedEstimate, count: int) -> dict[str, float]:
    """The ends of a 95 % interval that holds together with ``count - 1`` others like it."""
    own, joint = (stats.t.ppf(1 - 0.025 / number, estimate.freedom) for number in (1, count))
    half = (estimate.high - estimate.low) / 2 * joint / own
    return {"low": float(estimate.mean - half), "high": float(estimate.mean + half)}


def contrast_table(contrasts: list[dict]) -> pd.DataFrame:
    """A row per reference and outcome: the difference with its adjusted interval, p and the detectable effect."""
    rows = [
        {
            "GAD less": row["reference"].replace("_", " "),
            "outcome": row["outcome"],
            "difference": mean_with_interval(row["mean"], row["low"], row["high"]),
            "p, Holm": f"{row['p_holm']:.2g}",
            "minimum detectable effect": f"{row['minimum_detectable']:.2g}",
        }
        for row in contrasts
    ]
    return pd.DataFrame(rows)
