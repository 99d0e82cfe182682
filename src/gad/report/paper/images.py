"""Tables 2, 3 and 12: seed identification from images, scores of images, distances of sets of images."""

import pandas as pd

from gad.report.format import format_ours

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


def image_seeds_beside_ours(seeds: dict) -> pd.DataFrame:
    """Table 2 of the paper with this recipe's models of the same kind; accuracies in percent there, in [0, 1] here.

    ``seeds`` is the group of that name in the metrics of the `sensitivity` stage. Theirs: 10 seeds, 500 training images
    each, EfficientFormer-L3. Chance and classifier differ, so only the order within a column compares.
    """
    kinds = {"teacher": "teacher", "LADD": "baseline", "LADD + GAD": "gad"}
    rows = []
    for name, (own, alignment) in PAPER_SEEDS.items():
        variant = kinds.get(name, "")
        row = {"paper's table": "2", "model": name, "paper, self": own, "paper, teacher alignment": alignment or ""}
        row |= {"ours": variant, "ours, self": format_ours(seeds, variant, "seed_identification_accuracy")}
        rows.append(row | {"ours, teacher alignment": format_ours(seeds, variant, "teacher_trained_seed_accuracy")})
    return pd.DataFrame(rows)


def fidelity_beside_ours(fidelity: dict) -> pd.DataFrame:
    """Tables 3 and 12 of the paper with this recipe's teacher, baseline and GAD.

    ``fidelity`` is the group of that name in the metrics of the `fidelity` stage. Evaluators and features are named in
    ours; numbers of other evaluators do not compare, their order may.
    """
    measures: dict[str, dict] = next(iter(fidelity.values()), {})
    scores = [name for name in measures if "_to_" not in name]
    rows = []
    for setting, models in PAPER_SCORES.items():
        for (name, (clip, pick)), variant in zip(models.items(), OURS.values(), strict=True):
            row = {
                "paper's table": "3",
                "setting": setting,
                "model": name,
                "paper": f"CLIP {clip:.2f}, PickScore {pick:.2f}",
            }
            found = ", ".join(f"{score}: {format_ours(fidelity, variant, score)}" for score in scores)
            rows.append(row | {"ours, teacher, baseline or GAD": found})
    for setting, values in PAPER_FID.items():
        for kind, value in zip(("without GAD", "with GAD"), values, strict=True):
            row = {"paper's table": "12", "setting": setting, "model": kind, "paper": f"FID {value:.2f}"}
            found = format_ours(fidelity, OURS[kind], "frechet_to_teacher")
            rows.append(row | {"ours, teacher, baseline or GAD": f"Fréchet: {found}" if found else ""})
    return pd.DataFrame(rows)
