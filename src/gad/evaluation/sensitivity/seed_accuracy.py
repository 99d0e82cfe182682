"""How often a seed classifier is right: accuracies with intervals by model, and learning curves. The paper's Table 2.

``rows`` are those of :func:`gad.evaluation.sensitivity.seed_identification.identify_seeds`.
"""

import pandas as pd


def seed_identification_accuracy(rows: pd.DataFrame) -> dict[str, float]:
    """``accuracy`` in [0, 1] of some rows, with its 95 % interval ``low``, ``high``, and ``n`` images.

    Higher is more identifiable. Images of one prompt may be easy or hard together, so the interval is Wilson's with as
    many independent images as the spread between prompts leaves (Korn and Graubard, Survey Methodology 24, 1998); where
    few prompts happen to agree, that is all of them. It covers other prompts, not other noises.
    """
    from scipy.stats import norm, t  # here, since it takes seconds

    right, n = float(rows["right"].mean()), len(rows)
    of_prompts = rows.groupby("prompt")["right"].mean()
    variance, alone, prompts = float(of_prompts.var()) / len(of_prompts), right * (1 - right), len(of_prompts)
    independent = float(n)
    if prompts > 1 and variance > 0:
        few = (norm.ppf(0.975) / t.ppf(0.975, prompts - 1)) ** 2  # the spread of few prompts is itself uncertain
        independent = min(independent, few * alone / variance)
    square = norm.ppf(0.975) ** 2 / independent
    centre = (right + square / 2) / (1 + square)
    half = (square * alone + square**2 / 4) ** 0.5 / (1 + square)
    low, high = min(right, max(0.0, centre - half)), max(right, min(1.0, centre + half))  # against rounding at the ends
    return {"accuracy": right, "low": low, "high": high, "n": n}


def seed_curve_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Accuracy with interval by variant, seed, ``trained_on`` and number of training prompts; empty for no rows."""
    if rows.empty:
        return pd.DataFrame()
    groups = rows.groupby(["variant", "seed", "trained_on", "train_prompts"], sort=False)
    return pd.DataFrame(
        [dict(zip(groups.keys, key, strict=True)) | seed_identification_accuracy(group) for key, group in groups]
    )


def summarise_seed_identification(rows: pd.DataFrame) -> pd.DataFrame:
    """Table 2: a row per variant and seed, from the whole training set.

    ``seed_identification_accuracy`` and ``teacher_trained_seed_accuracy``, accuracies in [0, 1], each with its 95 %
    interval (``_low``, ``_high``), the number of test images ``n``, and ``self_climb``: what the last step of the
    learning curve still added. Where that is large, the classifier was short of images. Empty for no rows.
    """
    if rows.empty:
        return pd.DataFrame()
    result = []
    names = {"self": "seed_identification_accuracy", "teacher": "teacher_trained_seed_accuracy"}
    for (variant, seed), group in seed_curve_table(rows).groupby(["variant", "seed"], sort=False):
        row = {"variant": variant, "seed": seed}
        for trained_on, name in names.items():
            curve = group[group["trained_on"] == trained_on].sort_values("train_prompts")
            if len(curve):
                last = curve.iloc[-1]
                row |= {name: last["accuracy"], f"{name}_low": last["low"], f"{name}_high": last["high"]}
                row["n"] = last["n"]
            if trained_on == "self" and len(curve) > 1:
                row["self_climb"] = last["accuracy"] - curve["accuracy"].iloc[-2]
        result.append(row)
    return pd.DataFrame(result)


def num_seed_classes(rows: pd.DataFrame) -> int:
    """The number of classes, noises, in the rows; 0 for none."""
    return rows["noise"].nunique() if len(rows) else 0
