"""Tables 5 and 6 and Fig. 5: control through the noise."""

import pandas as pd

from gad.report.format import format_mean, format_ours

LAYOUT = {  # Table 5: AP, AP50 (percent, YOLOv4) and CLIP score of SD 2.1 and its students at 512 px; single runs
    "teacher": (6.6, 21.3, 0.3333),
    "SD-Turbo": (3.0, 8.4, None),
    "SwiftBrush": (3.8, 12.6, None),
    "SwiftBrush v2": (2.9, 10.6, None),
    "TCD": (4.8, 18.0, None),
    "LADD": (5.0, 17.4, 0.3187),
    "LADD + GAD": (5.8, 20.6, 0.3184),
}
LAYOUT_OURS = {
    "AP, random noise": "ap_random",
    "AP, optimised noise": "ap_optimised",
    "AP50, random noise": "ap50_random",
    "AP50, optimised noise": "ap50_optimised",
    "AP50, teacher's optimised noise": "ap50_teacher",
    "CLIP, random noise": "clip_score_random",
    "CLIP, optimised noise": "clip_score_optimised",
}
SAME_KIND = {"teacher": "teacher", "LADD": "baseline", "LADD + GAD": "gad"}
NOISE_QUERY = {  # Table 6, CLIP score of teacher, baseline and GAD with the teacher's retrieved noise
    "SD 2.1, LADD": (31.62, 30.79, 30.87),
    "PixArt, TDM": (30.97, 30.51, 30.57),
    "SANA, SiD": (32.33, 31.61, 31.59),
}
DIVERSITY = {  # Table 7, PixArt and TDM: Vendi and CLIP score; Fig. 5 plots the same two
    "baseline": (2.7187, 33.42),
    "noise_augmentation": (2.6355, 33.41),
    "diversity_regulariser": (3.0559, 31.76),
    "gad": (2.7967, 33.53),
}
RETRIEVALS = {"none": "fresh", "random": "random", "retrieved": "retrieved", "own": "own library"}


def noise_query_beside_ours(control: dict) -> pd.DataFrame:
    """Table 6: a row per setting of the paper and per kind of noise of ours, a column per model, and if they compare.

    ``control`` is the metrics of the `control` stage. The paper has no row without retrieval; ours has, so that what
    retrieval gives can be separated from what the model gives. Empty for a recipe without prompts.
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
            row |= {model: format_mean(ours[model][metric]) for model in models if model in ours}
            rows.append(row | {"comparable?": "Within this table's lower part only: the recipe's evaluator, a cosine."})
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
        row = {"variant": variant, "paper, Vendi": vendi, "ours, Vendi": format_mean(values["vendi"])}
        row |= {"paper, CLIP": clip, "ours, CLIP": format_mean(values["clip_score"])}
        if "object_accuracy" in values:
            row["ours, object accuracy"] = format_mean(values["object_accuracy"])
        rows.append(row | {"comparable?": "Direction only: the recipe's own features, evaluator and prompts."})
    return pd.DataFrame(rows)


def layout_beside_ours(control: dict) -> pd.DataFrame:
    """Table 5: the paper's AP and AP50, in percent, and CLIP score beside this recipe's, by kind of noise.

    ``control`` is the metrics of the `control` stage. The paper has no row with random noise; ours has, since AP50 of
    random noise shows how much of the rest is control. Empty for a recipe without the layout task.
    """
    groups = control["over_seeds"]
    if "ap50_random" not in groups["teacher"]:
        return pd.DataFrame()
    rows = []
    for name, (ap, ap50, clip) in LAYOUT.items():
        variant = SAME_KIND.get(name, "")
        row = {"model": name, "paper, AP": ap, "paper, AP50": ap50, "paper, CLIP": clip or "", "ours": variant}
        row |= {f"ours, {label}": format_ours(groups, variant, metric) for label, metric in LAYOUT_OURS.items()}
        rows.append(
            row | {"comparable?": "Order only: the recipe's own detector, evaluator and boxes; ours in [0, 1]."}
        )
    return pd.DataFrame(rows)
