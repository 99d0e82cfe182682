"""Tables 1 and 4: responses and trajectories."""

import pandas as pd

from gad.report.direction_kinds import direction_kinds
from gad.report.format import format_mean

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


def response_beside_ours(sensitivity: dict) -> pd.DataFrame:
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
        row |= {f"ours, {variant}": format_mean(ours[variant][metric]) for variant in ("baseline", "gad")}
        rows.append(row | {"comparable?": compare})
    return pd.DataFrame(rows)
