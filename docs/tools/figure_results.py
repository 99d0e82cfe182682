"""Figures of the pages of results, from results/."""

import re
from collections.abc import Callable

import matplotlib.pyplot as plt
from figure_style import INK, PAPER, SHORT, colour, metrics_of, panel_labels

from gad.report.figures.style import MARKERS
from gad.report.markdown_tables import (
    COSINE,
    ISOTROPIC_COSINE,
    LAYOUT,
    MODES,
    OVERVIEW,
    REQUESTS,
    TRAINED,
    Metric,
)
from gad.report.result_tables import NAMES
from gad.runtime.paths import RESULTS, ROOT


def _forest(recipes: list[str], variants: list[str], metric_of: Callable[[str], Metric], theme: dict, label: str):
    """A row a recipe, a mark a variant: its change against the baseline with the 95 % interval."""
    figure, axis = plt.subplots(figsize=(8.6, (0.21 * len(variants) - 0.03) * len(recipes) + 1.3))
    axis.axvline(0, color=theme[INK], linewidth=1)
    seen = set()
    for row, recipe in enumerate(recipes):
        shown = [name for name in variants if metric_of(recipe).difference(metrics_of(recipe), name)[0]]
        for number, variant in enumerate(shown):
            found, _ = metric_of(recipe).difference(metrics_of(recipe), variant)
            assert found is not None, "left out above"
            height = row + 0.21 * (number - (len(shown) - 1) / 2)
            _mark(axis, found, height, variant, theme, NAMES[variant] if variant not in seen else None)
            seen.add(variant)
    axis.set_yticks(range(len(recipes)), [SHORT[name] for name in recipes])
    axis.set_ylim(len(recipes) - 0.4, -0.6)
    axis.set_xlabel(label)
    axis.grid(axis="y", visible=False)
    _legend(figure, axis)
    return figure


def _mark(axis, found: dict, height: float, variant: str, theme: dict, label: str | None) -> None:
    shade = colour(variant, theme)
    if found["low"] is not None:
        axis.plot([found["low"], found["high"]], [height, height], color=shade, linewidth=2.4, solid_capstyle="butt")
    hollow = {"markerfacecolor": theme[PAPER]} if found["low"] is None else {}
    look = {"color": shade, "marker": MARKERS[variant], "markersize": 8, "linestyle": "none", "markeredgewidth": 1.6}
    axis.plot([found["mean"]], [height], **(look | hollow), label=label)


def _legend(figure, axis) -> None:
    labels = axis.get_legend_handles_labels()[1]
    columns = 4 if len(labels) <= 4 and sum(map(len, labels)) < 75 else 3
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=columns, frameon=False)


def draw_overview(theme: dict):
    recipes = list(OVERVIEW.rows)
    label = "change of the JVP cosine against the baseline (right is better)"
    variants = ["gad", "pointwise_anchor", "noise_augmentation"]
    return _forest(recipes, variants, lambda name: OVERVIEW.rows[name][1], theme, label)


def draw_images(theme: dict):
    recipes = [name for name in OVERVIEW.rows if name.startswith("emoji")]
    label = "change of the JVP cosine, isotropic directions, h = 0.5"
    variants = ["gad", "pointwise_anchor", "gad_anchor", "noise_augmentation"]
    return _forest(recipes, variants, lambda name: ISOTROPIC_COSINE, theme, label)


def _bars(recipes, variants, metric_of, theme, label, best=None, width=8.6):
    """A group a recipe, a mark a model: the mean with its 95 % interval over seeds."""
    figure, axis = plt.subplots(figsize=(width, 3.9))
    if best is not None:
        axis.axhline(best, color=theme[INK], linewidth=1, linestyle=(0, (4, 3)))
    seen = set()
    for place, recipe in enumerate(recipes):
        shown = [name for name in variants if metric_of(recipe).estimate(metrics_of(recipe), name)]
        for number, variant in enumerate(shown):
            found = metric_of(recipe).estimate(metrics_of(recipe), variant)
            x = place + 0.13 * (number - (len(shown) - 1) / 2)
            shade = colour(variant, theme)
            if found["low"] is not None:
                axis.plot([x, x], [found["low"], found["high"]], color=shade, linewidth=2.4, solid_capstyle="butt")
            hollow = {"markerfacecolor": theme[PAPER]} if found["low"] is None and variant != "teacher" else {}
            look = {"color": shade, "marker": MARKERS[variant], "markersize": 8, "linestyle": "none"}
            name = None if variant in seen else NAMES.get(variant, variant)
            axis.plot([x], [found["mean"]], **(look | hollow), label=name)
            seen.add(variant)
    axis.set_xticks(range(len(recipes)), [SHORT[name].replace(", ", "\n") for name in recipes])
    axis.set_xlim(-0.6, len(recipes) - 0.4)
    axis.set_ylabel(label)
    axis.grid(axis="x", visible=False)
    _legend(figure, axis)
    return figure


def draw_swiss_roll(theme: dict):
    figure, axes = plt.subplots(1, 4, figsize=(9.2, 3.4))
    metrics = metrics_of("swiss_roll")
    shown = [
        ("median map error ↓", Metric("", "sensitivity", "isotropic", "map_error_median")),
        ("JVP cosine ↑", COSINE),
        ("norm ratio → 1", Metric("", "sensitivity", "isotropic", "jacobian_norm_ratio")),
        ("spectral KL ↓", Metric("", "sensitivity", "isotropic", "spectral_kl")),
    ]
    for axis, (title, metric) in zip(axes, shown, strict=True):
        for number, variant in enumerate(("baseline", "noise_augmentation", "gad")):
            found = metric.estimate(metrics, variant)
            shade = colour(variant, theme)
            axis.plot([number] * 2, [found["low"], found["high"]], color=shade, linewidth=3, solid_capstyle="butt")
            look = {"color": shade, "marker": MARKERS[variant], "markersize": 9, "linestyle": "none"}
            axis.plot([number], [found["mean"]], **look, label=NAMES[variant])
        if "ratio" in title:
            axis.axhline(1, color=theme[INK], linewidth=1, linestyle=(0, (4, 3)))
        axis.set_xticks([])
        axis.set_xlim(-0.7, 2.7)
        if "cosine" not in title:
            axis.set_ylim(bottom=0)
        panel_labels(axis, title, theme)
    _legend(figure, axes[0])
    return figure


def draw_paradigms_2d(theme: dict):
    recipes = ["swiss_roll_ladd", "swiss_roll_dmd2", "swiss_roll_sid"]
    variants = ["baseline", "pointwise_anchor", "gad", "gad_anchor", "gad_score_fixed", "gad_released"]
    return _bars(recipes, variants, lambda name: COSINE, theme, "JVP cosine (teacher: 1)", best=1)


def draw_anchor(theme: dict):
    recipes = [
        "swiss_roll_ladd",
        "swiss_roll_dmd2",
        "swiss_roll_sid",
        *TRAINED,
    ]
    variants = ["baseline", "pointwise_anchor", "gad"]
    return _bars(recipes, variants, lambda name: OVERVIEW.rows[name][1], theme, "JVP cosine (teacher: 1)", best=1)


def draw_control(theme: dict):
    recipes = ["emoji_flow", "emoji_unet", "emoji_dit", "emoji_unet_ladd", "emoji_dit_tdm", "emoji_flow_sid"]
    variants = ["teacher", "baseline", "pointwise_anchor", "gad"]
    return _bars(recipes, variants, lambda name: LAYOUT, theme, "layout AP50, own optimised noise ↑")


def draw_requests(theme: dict):
    """Trained image students: what a request through the noise reaches."""
    variants = ["baseline", "noise_augmentation", "pointwise_anchor", "gad"]
    return _bars([*TRAINED], variants, lambda name: REQUESTS, theme, "requests, rank correlation ↑")


def draw_modes(theme: dict):
    recipes = ["emoji_flow", "emoji_unet", "emoji_dit", "emoji_unet_ladd", "emoji_dit_tdm", "emoji_flow_sid"]
    variants = ["teacher", "baseline", "pointwise_anchor", "gad"]
    return _bars(recipes, variants, lambda name: MODES, theme, "mode coverage ↑")


def _table(name: str) -> list[dict]:
    import csv

    with (RESULTS / "ablations" / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


def draw_ablation_weight(theme: dict):
    """The weight of GAD in output matching: median map error and cosine after 1000 steps."""
    rows = [row for row in _table("weight_quick") if row["directions"] == "isotropic"]
    figure, axes = plt.subplots(1, 2, figsize=(8.6, 3.5))
    for axis, (metric, label) in zip(
        axes, (("map error, median", "median map error ↓"), ("JVP cosine", "JVP cosine ↑")), strict=True
    ):
        for variant in ("baseline", "gad"):
            own = [row for row in rows if row["variant"] == variant]
            x = [float(row["setting"].split()[1]) for row in own]
            middle, low, high = ([float(row[f"{metric} {part}"]) for row in own] for part in ("mean", "low", "high"))
            shade = colour(variant, theme)
            axis.fill_between(x, low, high, color=shade, alpha=0.25, linewidth=0)
            axis.plot(x, middle, color=shade, marker=MARKERS[variant], linewidth=2, label=NAMES[variant])
        axis.set_xscale("log")
        axis.set_xticks(x, [f"{value:g}" for value in x])
        axis.minorticks_off()
        axis.set_xlabel("weight of GAD")
        panel_labels(axis, label, theme)
    axes[0].set_ylim(bottom=0)
    _legend(figure, axes[0])
    return figure


def draw_cost(theme: dict):
    """What GAD adds to the time of a training step, from the table of RESULTS.md."""
    lines = (ROOT / "RESULTS.md").read_text().partition("## Cost")[2].partition("###")[0].splitlines()
    table = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines if line.startswith("|")]
    cells_of = {name: cells for name, *cells in table}
    names = cells_of[""]
    figure, axis = plt.subplots(figsize=(8.6, 3))
    for number, (what, name) in enumerate(
        {"every pair": "GAD: time", "a quarter of the pairs": "on a quarter of the pairs: time"}.items()
    ):
        for row, cell in enumerate(cells_of[name]):
            numbers = [float(n.replace("−", "-")) for n in re.findall(r"[+−-]?\d+\.\d", cell)]
            if not numbers:
                continue
            height, shade = row + 0.22 * (number - 0.5), colour(("gad", "gad_score")[number], theme)
            axis.plot(numbers[1:3], [height] * 2, color=shade, linewidth=3, solid_capstyle="butt")
            axis.plot(
                numbers[0],
                height,
                marker="os"[number],
                color=shade,
                markersize=9,
                linestyle="none",
                label=f"GAD on {what}" if row == 1 else None,
            )
    axis.set_yticks(range(3), names)
    axis.set_ylim(2.6, -0.6)
    axis.axvline(0, color=theme[INK], linewidth=1)
    axis.set_xlabel("added time of a training step, % (median, quartiles)")
    axis.grid(axis="y", visible=False)
    _legend(figure, axis)
    return figure
