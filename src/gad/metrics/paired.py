"""Differences between variants, paired by noise and prompt: what the seeds, the noises, and both together say."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gad.metrics.statistics import CrossedEstimate, Estimate, bootstrap_mean, crossed_mean, t_interval_over_seeds

METRICS = ("pointwise_mse", "jvp_cosine", "jvp_mse", "spectral_kl")


def paired_values(samples: pd.DataFrame, metric: str, variant: str, reference: str = "baseline") -> np.ndarray:
    """variant - reference ``[S, N]`` at equal seed and noise (a noise has one prompt), mean over directions.

    ``samples`` has the rows of one kind of direction. Seeds or noises that one of the two lacks are left out.
    """
    means = samples.groupby(["variant", "seed", "noise"])[metric].mean()
    own, base = (means[name].unstack("noise") for name in (variant, reference))
    difference = own - base  # aligned by seed and noise
    return difference.dropna(how="all").dropna(axis=1).to_numpy()


def paired_table(samples: pd.DataFrame, metrics: Sequence[str] = METRICS, reference: str = "baseline") -> pd.DataFrame:
    """A row per kind of direction, metric and variant: its mean difference to the reference with three intervals.

    ``seeds``: t over the seeds' means, other seeds at these noises · ``noises``: BCa bootstrap over the noises'
    means, other noises for these students · ``both``: two-way random effects
    (:func:`gad.metrics.statistics.crossed_intervals`), other seeds and other noises; the one to quote.
    """
    rows = []
    for kind, group in samples.groupby("directions", sort=False):
        for variant in [name for name in group["variant"].unique() if name != reference]:
            for metric in metrics:
                values = paired_values(group, metric, variant, reference)
                seeds, noises, both = (
                    t_interval_over_seeds(values.mean(1)),
                    bootstrap_mean(values.mean(0)),
                    crossed_mean(values),
                )
                row = {"directions": kind, "metric": metric, "variant": variant, "difference": both.mean}
                row |= {"num_seeds": len(values), "num_noises": values.shape[1]}
                row |= _columns({"seeds": seeds, "noises": noises, "both": both})
                rows.append(row | {"both freedom": both.freedom})
    return pd.DataFrame(rows)


def paired_outputs(
    variants: Sequence[str],
    *,
    trajectory: pd.DataFrame | None = None,
    seeds: pd.DataFrame | None = None,
    scored: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """:func:`paired_table` of what is no derivative, for these variants: a sample is whatever both were asked alike.
    Tables that are empty or not given are left out.

    ``deviation`` by time, its samples noises · each score of ``scored``, its samples images, each of a noise and a
    prompt · ``seed_identification_accuracy`` and ``teacher_trained_seed_accuracy`` from the whole training set, its
    samples prompts.
    """
    tables = []
    if trajectory is not None and len(trajectory):
        rows = trajectory.assign(directions="t = " + trajectory["t"].map("{:g}".format))
        tables.append(paired_table(rows, ["deviation"]))
    if scored is not None and len(scored):
        names = [name for name in scored.columns if name not in ("sample", "prompt", "variant", "seed")]
        rows = scored.rename(columns={"sample": "noise"}).assign(directions="by image")
        tables.append(paired_table(rows[rows["variant"].isin(variants)], names))
    if seeds is not None and len(seeds):
        whole = seeds[(seeds["train_prompts"] == seeds["train_prompts"].max()) & seeds["variant"].isin(variants)]
        for trained_on, name in (
            ("self", "seed_identification_accuracy"),
            ("teacher", "teacher_trained_seed_accuracy"),
        ):
            rows = whole[whole["trained_on"] == trained_on].drop(columns="noise")
            rows = rows.rename(columns={"prompt": "noise", "right": name}).assign(directions="by prompt")
            tables.append(paired_table(rows, [name]))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _columns(found: dict[str, Estimate]) -> dict[str, float]:
    return {f"{name} {end}": getattr(estimate, end) for name, estimate in found.items() for end in ("low", "high")}


def paired_two_level_intervals(table: pd.DataFrame) -> dict[str, dict[str, dict]]:
    """The intervals over seeds and noises as a metrics file holds them: ``{variant: {"metric, directions": ...}}``."""
    result: dict[str, dict[str, dict]] = {}
    for row in table.to_dict("records"):
        interval = row["both low"], row["both high"], row["num_seeds"], row["both freedom"]
        estimate = CrossedEstimate(row["difference"], *interval)
        result.setdefault(row["variant"], {})[f"{row['metric']}, {row['directions']}"] = vars(estimate)
    return result
