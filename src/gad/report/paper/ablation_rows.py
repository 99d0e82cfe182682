"""Tables 7 to 9: the paper's ablations."""

import pandas as pd

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
    "window": (
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
    """The paper's rows for an ablation of ours, or None where it has none; single runs on other images."""
    if name not in ABLATIONS:
        return None
    number, *rows = ABLATIONS[name]
    return pd.DataFrame(rows, columns=["setting", "Vendi", "CLIP score", "PickScore"]).assign(table=number)
