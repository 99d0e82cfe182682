"""Colours, order and size that all figures share. Colours stay distinct in grey."""

import itertools
from collections.abc import Iterable

import matplotlib
from matplotlib.rcsetup import cycler

DPI = 110
PALETTE = {  # in the order in which they are drawn
    "teacher": "#222222",
    "initialisation": "#5c5c5c",
    "baseline": "#9a9a9a",
    "equal_time": "#c7c7c7",
    "noise_augmentation": "#e08214",
    "diversity_regulariser": "#fdb863",
    "random_gradient": "#a6611a",
    "random_gradient_bounded": "#543005",
    "gad_other_pair": "#d6604d",
    "gad": "#2166ac",
    "gad_score": "#92c5de",
    "gad_score_fixed": "#4393c3",
    "gad_released": "#c51b7d",
    "pointwise_anchor": "#7fbc41",
    "first_step_anchor": "#276419",
    "gad_anchor": "#8073ac",
}
MARKERS = dict(zip(PALETTE, "*posDv^x+PX<>h8d", strict=True))  # distinct without colour
OTHERS = "ospDv^PX<>hd8"  # of external models
DASHES = ["-", ":", "--", "-.", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1))]

GREY, TEXT = ".8", ".15"
FONTS = ["Arial", "DejaVu Sans", "Liberation Sans", "Bitstream Vera Sans", "sans-serif"]
COLOURS = ["#4c72b0", "#dd8452", "#55a868", "#c44e52", "#8172b3", "#937860", "#da8bc3", "#8c8c8c", "#ccb974", "#64b5cd"]
THEME = {  # seaborn's "whitegrid" for a notebook; importing seaborn for it takes seconds
    **{"axes.grid": True, "axes.axisbelow": True, "axes.edgecolor": GREY, "axes.labelcolor": TEXT},
    **{"axes.linewidth": 1.25, "axes.labelsize": 12, "axes.titlesize": 12, "axes.prop_cycle": cycler(color=COLOURS)},
    **{"font.size": 12, "font.sans-serif": FONTS, "text.color": TEXT, "lines.solid_capstyle": "round"},
    **{"grid.color": GREY, "grid.linewidth": 1, "legend.fontsize": 11, "legend.title_fontsize": 12},
    **{"patch.edgecolor": "w", "patch.force_edgecolor": True, "xtick.bottom": False, "ytick.left": False},
    **{f"{axis}tick.color": TEXT for axis in "xy"},
    **{f"{axis}tick.labelsize": 11 for axis in "xy"},
    **{f"{axis}tick.{kind}.size": size for axis in "xy" for kind, size in (("major", 6), ("minor", 4))},
    **{f"{axis}tick.{kind}.width": width for axis in "xy" for kind, width in (("major", 1.25), ("minor", 1))},
}
matplotlib.rcParams.update(THEME)  # type: ignore[arg-type]  # its stubs name every key; some here are put together


def style_order(names: Iterable[str]) -> list[str]:
    """Each name once: ours in their order, external models after them."""
    names = list(dict.fromkeys(names))
    return [name for name in PALETTE if name in names] + [name for name in names if name not in PALETTE]


def variant_styles(names: Iterable[str]) -> dict[str, dict]:
    """Colour and marker of each name: ours have their own, external models the next ones of a further row."""
    external = [name for name in style_order(names) if name not in PALETTE]
    colours = _spread(len(external)) if external else []
    found: dict[str, dict] = {
        name: {"color": PALETTE[name], "marker": MARKERS[name]} for name in style_order(names) if name in PALETTE
    }
    for number, name in enumerate(external):
        found[name] = {"color": colours[number], "marker": OTHERS[number % len(OTHERS)]}
    return found


def _spread(count: int) -> list[tuple[float, float, float]]:
    """Different colours of one lightness."""
    import seaborn  # here, since it takes seconds

    return seaborn.husl_palette(count, l=0.55)


def variant_line_styles(names: Iterable[str]) -> dict[str, dict]:
    """:func:`variant_styles` and a dash for each name, by its place: the first six lines of a figure have their own."""
    found = variant_styles(names)
    dashes = dict(zip(found, itertools.cycle(DASHES), strict=False))
    return {name: look | {"linestyle": dashes[name]} for name, look in found.items()}
