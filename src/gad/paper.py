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


def number(estimate: dict) -> str:
    """A mean with its 95 % interval, or the mean alone where there is one seed."""
    if estimate["low"] is None:
        return f"{estimate['mean']:.3g} (n = {estimate['n']})"
    return f"{estimate['mean']:.3g} [{estimate['low']:.3g}, {estimate['high']:.3g}]"
