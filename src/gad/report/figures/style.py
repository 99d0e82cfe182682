"""Colours, order and size that all figures share. Colours stay distinct in grey."""

import itertools
from collections.abc import Iterable

import seaborn as sns

DPI = 110
PALETTE = {  # in the order in which they are drawn
    "teacher": "#222222",
    "baseline": "#9a9a9a",
    "equal_time": "#c7c7c7",
    "noise_augmentation": "#e08214",
    "diversity_regulariser": "#fdb863",
    "random_gradient": "#a6611a",
    "gad": "#2166ac",
    "gad_score": "#92c5de",
    "gad_score_fixed": "#4393c3",
    "gad_released": "#c51b7d",
    "pointwise_anchor": "#7fbc41",
    "gad_anchor": "#8073ac",
}
MARKERS = dict(zip(PALETTE, "*osDv^PX<>hd", strict=True))  # told apart without colour
OTHERS = "ospDv^PX<>hd8"  # of external models
DASHES = ["-", ":", "--", "-.", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1))]

sns.set_theme(style="whitegrid", context="notebook")


def order(names: Iterable[str]) -> list[str]:
    """Each name once: ours in their order, external models after them."""
    names = list(dict.fromkeys(names))
    return [name for name in PALETTE if name in names] + [name for name in names if name not in PALETTE]


def looks(names: Iterable[str]) -> dict[str, dict]:
    """Colour and marker of each name: ours have their own, external models the next ones of a further row."""
    elsewhere = [name for name in order(names) if name not in PALETTE]
    colours = sns.husl_palette(max(1, len(elsewhere)), l=0.55)
    found = {name: {"color": PALETTE[name], "marker": MARKERS[name]} for name in order(names) if name in PALETTE}
    for number, name in enumerate(elsewhere):
        found[name] = {"color": colours[number], "marker": OTHERS[number % len(OTHERS)]}
    return found


def line_looks(names: Iterable[str]) -> dict[str, dict]:
    """:func:`looks` and a dash for each name, by its place: the first six lines of a figure have their own."""
    found = looks(names)
    dashes = dict(zip(found, itertools.cycle(DASHES), strict=False))
    return {name: look | {"linestyle": dashes[name]} for name, look in found.items()}
