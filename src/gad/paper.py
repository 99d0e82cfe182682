"""What the paper reports, beside what we measure, and whether the two can be compared.

Numbers from Huang et al., Restoring Initial Noise Sensitivity in Text-to-Image Distillation via Geometric Alignment
(ICML 2026, arXiv:2606.01651); single runs without intervals.
"""

import pandas as pd

from gad.summary import direction_kinds

# table, metric, PixArt TDM baseline, with GAD, our group (None: a kind of direction), our metric, whether they compare
_T4 = "Direction only: norm and sum are ours; 20 teacher steps, a small latent; a one-step path is interpolated."
PAPER = [
    ("1", "JVP cosine", 0.012, 0.014, None, "jvp_cosine", "No: differences in half precision, formula open."),
    ("1", "Jacobian norm ratio", 0.98, 0.99, None, "jacobian_norm_ratio", "No: half precision alone gives 1."),
    ("1", "spectral KL", 0.008, 0.006, None, "spectral_kl", "No: formula open; ours is in nats of a sketch."),
    ("1", "JVP MSE", 3e-4, 2e-4, None, "jvp_mse", "No: theirs is on differences at h = 0.01, ours per unit of h."),
    ("4", "trajectory deviation at t = 0.75", 0.016, 0.014, "trajectory", "deviation at t = 0.75", _T4),
    ("4", "trajectory deviation at t = 0.5", 0.216, 0.184, "trajectory", "deviation at t = 0.5", _T4),
    ("4", "trajectory deviation at t = 0.25", 0.433, 0.373, "trajectory", "deviation at t = 0.25", _T4),
    ("4", "trajectory deviation at t = 0", 0.491, 0.427, "trajectory", "deviation at t = 0", _T4),
]

# ablation: table, then setting, Vendi, CLIP score, PickScore of each of its rows (PixArt, TDM); tables 7 and 8 disagree
# on which run has a Vendi of 2.7187
ABLATIONS = {
    "strategies": (
        "7",
        ("baseline", 2.7187, 33.42, 22.12),
        ("noise augmentation", 2.6355, 33.41, 22.19),
        ("diversity regulariser", 3.0559, 31.76, 21.36),
        ("GAD", 2.7967, 33.53, 22.27),
    ),
    "gates": (
        "8",
        ("no GAD", 2.5967, 33.43, 22.10),
        ("all times", 2.7187, 33.52, 22.27),
        ("t > 600", 2.6686, 33.59, 22.24),
        ("200 to 600", 2.7140, 33.45, 22.13),
        ("t < 200", 2.6680, 33.32, 22.16),
        ("a random 20 % of steps", 2.7180, 33.10, 22.12),
    ),
    "schedule": (
        "9",
        ("fixed h", 2.7187, 33.52, 22.27),
        ("decreasing h", 2.6694, 33.32, 22.22),
        ("increasing h", 2.7202, 33.53, 22.14),
    ),
}


def paper_ablation(name: str) -> pd.DataFrame | None:
    """The paper's rows for an ablation of ours, or None where it has none; single runs on other pictures."""
    if name not in ABLATIONS:
        return None
    number, *rows = ABLATIONS[name]
    return pd.DataFrame(rows, columns=["setting", "Vendi", "CLIP score", "PickScore"]).assign(table=number)


def paper_beside_ours(sensitivity: dict) -> pd.DataFrame:
    """A row per number of the paper with the same recipe's baseline and GAD, and how far they can be compared.

    ``sensitivity`` is the metrics of the `sensitivity` stage; its first kind of direction is shown. Numbers that it
    does not hold are left out.
    """
    first = direction_kinds(sensitivity)[0]
    rows = []
    for table, name, baseline, gad, group, metric, compare in PAPER:
        ours = sensitivity.get(group or first, {})
        if not all(metric in ours.get(variant, {}) for variant in ("baseline", "gad")):
            continue
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


# T2: seed identifiability, SD 2.1 at 512 px: self, teacher alignment, in percent
PAPER_SEEDS = {
    "teacher": (93.7, None),
    "SD-Turbo": (77.8, 63.2),
    "SwiftBrush": (52.9, 45.8),
    "SwiftBrush v2": (76.5, 67.6),
    "TCD": (87.3, 84.5),
    "LADD": (87.6, 83.7),
    "LADD + GAD": (92.4, 87.4),
}
# T3: 1000 COCO prompts: CLIP score, PickScore
PAPER_SCORES = {
    "SD 2.1": {"teacher": (34.56, 21.70), "LADD": (32.58, 20.85), "LADD + GAD": (32.68, 21.38)},
    "PixArt-alpha": {"teacher": (33.41, 22.29), "TDM": (33.43, 22.10), "TDM + GAD": (33.52, 22.27)},
    "SANA": {"teacher": (35.16, 22.41), "SiD": (32.75, 21.76), "SiD + GAD": (34.40, 22.07)},
}
# T12: FID against the teacher's images, without and with GAD
PAPER_FID = {"SD 2.1, LADD": (11.29, 7.85), "PixArt-alpha, TDM": (5.80, 5.14), "SANA, SiD": (8.48, 7.36)}
OURS = {"teacher": "teacher", "without GAD": "baseline", "with GAD": "gad"}  # a row's kind and the variant beside it


def _ours(group: dict, variant: str, metric: str) -> str:
    estimate = group.get(variant, {}).get(metric)
    return "" if estimate is None or estimate["mean"] is None else number(estimate)


def seeds_beside_ours(seeds: dict) -> pd.DataFrame:
    """Table 2 of the paper with this recipe's models of the same kind; accuracies in percent there, in [0, 1] here.

    ``seeds`` is the group of that name in the metrics of the `sensitivity` stage. Theirs: 10 seeds, 500 training images
    each, EfficientFormer-L3. Chance and classifier differ, so only the order within a column compares.
    """
    kinds = {"teacher": "teacher", "LADD": "baseline", "LADD + GAD": "gad"}
    rows = []
    for name, (own, alignment) in PAPER_SEEDS.items():
        variant = kinds.get(name, "")
        row = {"paper's table": "2", "model": name, "paper, self": own, "paper, teacher alignment": alignment}
        row |= {"ours": variant, "ours, self": _ours(seeds, variant, "self_identifiability")}
        rows.append(row | {"ours, teacher alignment": _ours(seeds, variant, "teacher_alignment")})
    return pd.DataFrame(rows).fillna("")


def fidelity_beside_ours(fidelity: dict) -> pd.DataFrame:
    """Tables 3 and 12 of the paper with this recipe's teacher, baseline and GAD.

    ``fidelity`` is the group of that name in the metrics of the `sensitivity` stage. Judges and features are named in
    ours; numbers of other judges do not compare, their order may.
    """
    measures = next(iter(fidelity.values()), {})
    scores = [name for name in measures if "_to_" not in name]
    rows = []
    for setting, models in PAPER_SCORES.items():
        for (name, (clip, pick)), variant in zip(models.items(), OURS.values(), strict=True):
            row = {"paper's table": "3", "setting": setting, "model": name, "paper": f"CLIP {clip}, PickScore {pick}"}
            ours = ", ".join(f"{score}: {_ours(fidelity, variant, score)}" for score in scores)
            rows.append(row | {"ours, teacher, baseline or GAD": ours})
    for setting, values in PAPER_FID.items():
        for kind, value in zip(("without GAD", "with GAD"), values, strict=True):
            row = {"paper's table": "12", "setting": setting, "model": kind, "paper": f"FID {value}"}
            ours = _ours(fidelity, OURS[kind], "frechet_to_teacher")
            rows.append(row | {"ours, teacher, baseline or GAD": f"Fréchet: {ours}" if ours else ""})
    return pd.DataFrame(rows)
