"""What the paper reports, beside what we measure, and whether the two can be compared.

Numbers from Huang et al., Restoring Initial Noise Sensitivity in Text-to-Image Distillation via Geometric Alignment
(ICML 2026, arXiv:2606.01651); single runs without intervals.
"""

import pandas as pd

# table, metric, PixArt TDM baseline, with GAD, our metric, why they compare or not
PAPER = [
    (
        "1",
        "JVP cosine",
        0.012,
        0.014,
        "jvp_cosine",
        "No: differences in half precision at 512 px, formula open.",
    ),
    (
        "1",
        "Jacobian norm ratio",
        0.98,
        0.99,
        "jacobian_norm_ratio",
        "No: rounding in half precision alone gives 1.",
    ),
    ("1", "spectral KL", 0.008, 0.006, "spectral_kl", "No: formula open; ours is in nats of the sketched spectrum."),
    ("1", "JVP MSE", 3e-4, 2e-4, "jvp_mse", "No: theirs is on differences at h = 0.01, ours per unit of h."),
    ("4", "trajectory deviation at t = 0", 0.491, 0.427, "pointwise_mse", "Direction only: one step here, four there."),
]


def paper_beside_ours(sensitivity: dict) -> pd.DataFrame:
    """A row per number of the paper with the same recipe's baseline and GAD, and how far they can be compared.

    ``sensitivity`` is the metrics of the `sensitivity` stage; its first kind of direction is shown.
    """
    ours = next(iter(sensitivity.values()))
    rows = []
    for table, name, baseline, gad, metric, compare in PAPER:
        row = {"paper's table": table, "metric": name, "paper, TDM": baseline, "paper, +GAD": gad}
        row |= {f"ours, {variant}": number(ours[variant][metric]) for variant in ("baseline", "gad")}
        rows.append(row | {"comparable?": compare})
    return pd.DataFrame(rows)


NOISE_QUERY = {  # Table 6, CLIP score of teacher, baseline and GAD with the teacher's retrieved noise
    "SD 2.1, LADD": (31.62, 30.79, 30.87),
    "PixArt, TDM": (30.97, 30.51, 30.57),
    "SANA, SiD": (32.33, 31.61, 31.59),
}
DIVERSITY = {  # Table 7, PixArt and TDM: Vendi and CLIP score; Fig. 5 shows the same two as a picture
    "baseline": (2.7187, 33.42),
    "noise_augmentation": (2.6355, 33.41),
    "diversity_regulariser": (3.0559, 31.76),
    "gad": (2.7967, 33.53),
}
RETRIEVALS = {"none": "fresh", "random": "random", "retrieved": "retrieved", "own": "own library"}


def noise_query_beside_ours(control: dict) -> pd.DataFrame:
    """Table 6: a row per setting of the paper and per kind of noise of ours, a column per model, and if they compare.

    ``control`` is the metrics of the `control` stage. The paper has no row without retrieval; ours has, so that what
    retrieval gives can be told from what the model gives. Empty for a recipe without prompts.
    """
    models, ours = ("teacher", "baseline", "gad"), control["over_seeds"]
    if "query_clip_score_retrieved" not in ours["teacher"]:
        return pd.DataFrame()
    rows = []
    for setting, values in NOISE_QUERY.items():
        row = {"from": "paper", "setting": setting, "noise": "retrieved"}
        row |= dict(zip(models, map("{:.2f}".format, values), strict=True))
        rows.append(row | {"comparable?": "No: OpenAI's CLIP times 100 on DrawBench, 512 px; one run."})
    for name, noise in RETRIEVALS.items():
        metric = f"query_clip_score_{name}"
        if metric in ours["teacher"]:
            row = {"from": "ours", "setting": "this recipe", "noise": noise}
            row |= {model: number(ours[model][metric]) for model in models if model in ours}
            rows.append(row | {"comparable?": "Within this table's lower part only: own judge, a cosine."})
    return pd.DataFrame(rows).fillna("")


def diversity_beside_ours(control: dict) -> pd.DataFrame:
    """Fig. 5 with Table 7's numbers: Vendi and CLIP score of each variant, the paper's beside this recipe's.

    ``control`` is the metrics of the `control` stage. Empty for a recipe without prompts.
    """
    ours = control["over_seeds"]
    if "vendi" not in ours["teacher"]:
        return pd.DataFrame()
    rows = []
    for variant, values in ours.items():
        vendi, clip = (f"{value:.4g}" for value in DIVERSITY[variant]) if variant in DIVERSITY else ("", "")
        row = {"variant": variant, "paper, Vendi": vendi, "ours, Vendi": number(values["vendi"])}
        row |= {"paper, CLIP": clip, "ours, CLIP": number(values["clip_score"])}
        if "noun_right" in values:
            row["ours, noun right"] = number(values["noun_right"])
        rows.append(row | {"comparable?": "Direction only: other features, judge and world."})
    return pd.DataFrame(rows)


def number(estimate: dict) -> str:
    """A mean with its 95 % interval, or the mean alone where there is one seed."""
    if estimate["low"] is None:
        return f"{estimate['mean']:.3g} (n = {estimate['n']})"
    return f"{estimate['mean']:.3g} [{estimate['low']:.3g}, {estimate['high']:.3g}]"
