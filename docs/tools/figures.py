"""Makes the figures of docs/figures from results/ and from the exact Swiss roll.

python docs/tools/figures.py [NAME ...]

Each is an SVG for a light page and one for a dark page. The tutorial's train three small networks, half a minute each.
"""

import json
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "src"))

from gad.report.figures.style import MARKERS, PALETTE
from gad.report.markdown_tables import COSINE, ISOTROPIC_COSINE, LAYOUT, MODES, NAMES, OVERVIEW, Metric
from gad.runtime.paths import RESULTS

FOLDER = ROOT / "docs" / "figures"
INK, PAPER, GRID, FILL = "ink", "paper", "grid", "fill"
THEMES = {
    "light": {INK: "#1f2328", PAPER: "#ffffff", GRID: "#d0d7de", FILL: "#eef1f8", "teacher": "#222222"},
    "dark": {INK: "#e3e7ee", PAPER: "#1e2129", GRID: "#444b57", FILL: "#2b3140", "teacher": "#f2f2f2"},
}
SHORT = {
    "swiss_roll": "2-D, output matching",
    "swiss_roll_ladd": "2-D, LADD",
    "swiss_roll_dmd2": "2-D, DMD2",
    "swiss_roll_sid": "2-D, SiD",
    "emoji_flow": "images, matching, flow DiT",
    "emoji_unet": "images, matching, UNet",
    "emoji_dit": "images, matching, DiT",
    "emoji_unet_ladd": "images, LADD, UNet",
    "emoji_dit_tdm": "images, TDM, DiT",
    "emoji_flow_sid": "images, SiD, flow DiT",
}
LIFTED = {"#2166ac": "#5b9bd9", "#8073ac": "#a99cd6", "#a6611a": "#c98a4b"}  # too dark on a dark page


RING = LinearSegmentedColormap.from_list("ring", ["#d1495b", "#d98c21", "#4fa36f", "#4c86d9", "#9a63c4", "#d1495b"])


def colour(name: str, theme: dict) -> str:
    """A variant's colour, the teacher's by theme."""
    if name == "teacher":
        return theme["teacher"]
    found = PALETTE[name]
    return LIFTED.get(found, found) if theme[PAPER] != "#ffffff" else found


@cache
def metrics_of(recipe: str) -> dict:
    return json.loads((RESULTS / f"{recipe}.json").read_text())["metrics"]


def _panel_labels(axis, title: str, theme: dict) -> None:
    axis.set_title(title, color=theme[INK], fontsize=12)


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
    label = "change of the JVP cosine against the baseline (right: nearer to the teacher)"
    variants = ["gad", "pointwise_anchor", "noise_augmentation"]
    return _forest(recipes, variants, lambda name: OVERVIEW.rows[name][1], theme, label)


def draw_images(theme: dict):
    recipes = [name for name in OVERVIEW.rows if name.startswith("emoji")]
    label = "change of the JVP cosine against the baseline, isotropic directions, h = 0.5"
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
        _panel_labels(axis, title, theme)
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
        "emoji_unet_ladd",
        "emoji_dit_tdm",
        "emoji_flow_sid",
    ]
    variants = ["baseline", "pointwise_anchor", "gad", "gad_anchor"]
    return _bars(recipes, variants, lambda name: OVERVIEW.rows[name][1], theme, "JVP cosine (teacher: 1)", best=1)


def draw_control(theme: dict):
    recipes = ["emoji_flow", "emoji_unet", "emoji_dit", "emoji_unet_ladd", "emoji_dit_tdm", "emoji_flow_sid"]
    variants = ["teacher", "baseline", "pointwise_anchor", "gad"]
    return _bars(recipes, variants, lambda name: LAYOUT, theme, "layout AP50, own optimised noise ↑")


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
        _panel_labels(axis, label, theme)
    axes[0].set_ylim(bottom=0)
    _legend(figure, axes[0])
    return figure


def draw_cost(theme: dict):
    """What GAD adds to the time of a training step, from the table of RESULTS.md."""
    lines = (ROOT / "RESULTS.md").read_text().partition("## Cost")[2].splitlines()
    rows = [
        [cell.strip() for cell in line.strip("| ").split(" | ")]
        for line in lines
        if "one step |" in line or "four steps |" in line
    ]
    figure, axis = plt.subplots(figsize=(8.6, 3))
    for row, cells in enumerate(rows[:3]):
        for number, (cell, what) in enumerate(zip(cells[2:4], ("every pair", "a quarter of the pairs"), strict=False)):
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
    axis.set_yticks(range(3), [cells[0] for cells in rows[:3]])
    axis.set_ylim(2.6, -0.6)
    axis.axvline(0, color=theme[INK], linewidth=1)
    axis.set_xlabel("added time of a training step, % (median, quartiles)")
    axis.grid(axis="y", visible=False)
    _legend(figure, axis)
    return figure


# the tutorial's images: notebook 00_swiss_roll in short


@cache
def _swiss_roll() -> dict:
    import torch

    from gad.data.swiss_roll import make_swiss_roll
    from gad.diffusion.noise import draw_direction, draw_noise, perturb
    from gad.diffusion.sampling import sample
    from gad.diffusion.schedule import CosineSchedule
    from gad.models.exact import ExactDenoiser
    from gad.models.mlp import build_point_network, point_denoiser

    torch.manual_seed(0)
    points = make_swiss_roll(2000)
    teacher = ExactDenoiser(points.view(-1, 2, 1, 1), CosineSchedule())
    pairs, steps, shape = 300, 1200, (2, 1, 1)
    to_data = lambda z: sample(teacher, z, None, num_steps=40)[-1]  # noqa: E731
    z, v = draw_noise(range(pairs), shape, seed=0), draw_direction(range(pairs), shape, seed=0, kind="isotropic")
    moved = perturb(z, v, h=0.3, step="straight")
    extra = draw_noise(range(pairs, 2 * pairs), shape, seed=0)
    target, target_moved, target_extra = to_data(z), to_data(moved), to_data(extra)
    power = (target_moved - target).square().mean()
    students = {}
    for name in ("baseline", "noise_augmentation", "gad"):
        starts, targets = (
            ((z, extra), (target, target_extra)) if name == "baseline" else ((z, moved), (target, target_moved))
        )
        network = build_point_network(128, 4, seed=0)
        student, time = point_denoiser(network), torch.ones(pairs)
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            made = [student(start, time) for start in starts]
            loss = sum((a - b).square().mean() for a, b in zip(made, targets, strict=True)) / 2
            if name == "gad":
                loss = loss + ((made[1] - made[0]) - (targets[1] - targets[0])).square().mean() / power
            optimizer.zero_grad(), loss.backward(), optimizer.step(), schedule.step()
        students[name] = student
    maps = {"teacher": to_data}
    maps |= {name: (lambda x, s=student: sample(s, x, None, num_steps=1)[-1]) for name, student in students.items()}
    unseen = draw_noise(range(10**6, 10**6 + 1500), shape, seed=0)
    path = torch.cat(
        [
            unseen[k] + torch.linspace(-0.6, 0.6, 41).view(-1, 1, 1, 1) * torch.tensor([1.0, 0.3]).view(2, 1, 1)
            for k in (3, 11, 21)
        ]
    ).view(3, 41, 2, 1, 1)
    with torch.no_grad():
        outputs = {name: phi(unseen).flatten(1).numpy() for name, phi in maps.items()}
        paths = {name: np.stack([phi(line).flatten(1).numpy() for line in path]) for name, phi in maps.items()}
        trajectory = [state.flatten(1).numpy() for state in sample(teacher, unseen, None, num_steps=40)]
    noise_pairs = {"z": z, "moved": moved, "target": target, "target_moved": target_moved}
    noise_pairs = {name: tensor.flatten(1).numpy() for name, tensor in noise_pairs.items()}
    return {
        "points": points.numpy(),
        "outputs": outputs,
        "paths": paths,
        "trajectory": trajectory,
        "noises": unseen.flatten(1).numpy(),
        **noise_pairs,
    }


def _square(axis, title: str, theme: dict, limit: float | None = None) -> None:
    _panel_labels(axis, title, theme)
    axis.set_aspect("equal")
    axis.set_xticks([]), axis.set_yticks([])
    axis.grid(False)
    if limit:
        axis.set_xlim(-limit, limit), axis.set_ylim(-limit, limit)


def _angle(noises: np.ndarray) -> np.ndarray:
    return np.arctan2(noises[:, 1], noises[:, 0])


def draw_tutorial_teacher(theme: dict):
    """Noise to data in 40 steps; a point keeps the colour of its noise."""
    found = _swiss_roll()
    figure, axes = plt.subplots(1, 4, figsize=(9.2, 2.7))
    for axis, step in zip(axes, (0, 20, 32, 40), strict=True):
        cloud = found["trajectory"][step]
        axis.scatter(*cloud.T, c=_angle(found["noises"]), cmap=RING, s=5, linewidths=0, rasterized=True)
        _square(axis, {0: "t = 1: noise", 40: "t = 0: data"}.get(step, f"t = {1 - step / 40:g}"), theme)
    return figure


def draw_tutorial_pairs(theme: dict):
    """Noise pairs and the teacher's response to them."""
    found = _swiss_roll()
    figure, axes = plt.subplots(1, 2, figsize=(8, 4))
    chosen = range(0, 60)
    axes[1].scatter(*found["points"].T, color=theme[GRID], s=4, linewidths=0, rasterized=True)
    for axis, (start, end) in zip(axes, (("z", "moved"), ("target", "target_moved")), strict=True):
        for k in chosen:
            axis.plot(*zip(found[start][k], found[end][k], strict=True), color=colour("gad", theme), linewidth=1.4)
        axis.scatter(*found[start][chosen].T, color=theme["teacher"], s=14, zorder=3, label="z")
        axis.scatter(
            *found[end][chosen].T,
            color=colour("noise_augmentation", theme),
            s=14,
            marker="s",
            zorder=3,
            label="z' = z + h v",
        )
    _square(axes[0], "noises z and z' = z + h v", theme)
    _square(axes[1], "the teacher's outputs: its response", theme)
    return figure


def draw_tutorial_students(theme: dict):
    """The same 1500 unseen noises through teacher and students; a point keeps the colour of its noise."""
    found = _swiss_roll()
    figure, axes = plt.subplots(1, 4, figsize=(9.2, 2.7))
    titles = {"noise_augmentation": "noise augmentation", "gad": "GAD"}
    for axis, (name, cloud) in zip(axes, found["outputs"].items(), strict=True):
        axis.scatter(*cloud.T, c=_angle(found["noises"]), cmap=RING, s=5, linewidths=0, rasterized=True)
        _square(axis, titles.get(name, name), theme, 1.3 * np.abs(found["points"]).max())
    return figure


def draw_tutorial_paths(theme: dict):
    """Three noises, each moved along one direction: where the outputs go."""
    found = _swiss_roll()
    figure, axes = plt.subplots(1, 3, figsize=(9.2, 3.3))
    for axis, name in zip(axes, ("baseline", "noise_augmentation", "gad"), strict=True):
        axis.scatter(*found["points"].T, color=theme[GRID], s=3, linewidths=0, rasterized=True)
        for line in found["paths"]["teacher"]:
            axis.plot(*line.T, color=theme["teacher"], linewidth=5, alpha=0.35, solid_capstyle="round")
        for line in found["paths"][name]:
            axis.plot(*line.T, color=colour(name, theme) if name != "baseline" else "#d1495b", linewidth=1.8)
        _square(axis, {"gad": "GAD", "noise_augmentation": "noise augmentation"}.get(name, name), theme)
    return figure


# diagrams


def _box(axis, x, y, width, height, title, text, theme, strong=False):
    style = "round,pad=0,rounding_size=.08"
    edge = colour("gad", theme)
    axis.add_patch(
        FancyBboxPatch(
            (x, y),
            width,
            height,
            boxstyle=style,
            facecolor=theme[FILL],
            edgecolor=edge,
            linewidth=2.2 if strong else 1.2,
        )
    )
    middle = y + height / 2
    axis.text(
        x + width / 2,
        middle + (0.16 if text else 0),
        title,
        ha="center",
        va="center",
        fontsize=12.5,
        weight="bold",
        color=theme[INK],
    )
    if text:
        axis.text(
            x + width / 2,
            middle - 0.15,
            text,
            ha="center",
            va="center",
            fontsize=10.5,
            color=theme[INK],
            linespacing=1.15,
        )


def _arrow(axis, start, end, theme):
    axis.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=14, color=theme[INK], linewidth=1.4, shrinkA=1, shrinkB=1
        )
    )


def _canvas(width: float, height: float):
    figure, axis = plt.subplots(figsize=(width, height), layout="none")
    axis.set_position([0, 0, 1, 1])
    axis.set_xlim(0, width), axis.set_ylim(0, height)
    axis.axis("off")
    return figure, axis


def draw_pipeline(theme: dict):
    """The stages and what each hands on."""
    figure, axis = _canvas(9.6, 3.7)
    top = 2.0
    for x, name, text in (
        (0.15, "teacher", "exact, or a\nsmall pipeline"),
        (2.05, "noise_pairs", "outputs at z\nand z + h v"),
        (3.95, "student", "baseline, controls,\nGAD in its forms"),
    ):
        _box(axis, x, top - 0.55, 1.6, 1.15, name, None, theme, strong=name == "student")
        axis.texts[-1].set_y(top + 0.33)
        axis.text(x + 0.8, top - 0.18, text, ha="center", va="center", fontsize=10.5, color=theme[INK])
    _arrow(axis, (1.75, top), (2.05, top), theme), _arrow(axis, (3.65, top), (3.95, top), theme)
    for y, name, text in (
        (2.75, "sensitivity", "response to the noise"),
        (1.6, "fidelity", "scores and distances"),
        (0.45, "control", "layout, retrieval, diversity"),
    ):
        _box(axis, 5.95, y, 1.95, 0.85, name, text, theme)
        _arrow(axis, (5.55, top), (5.95, y + 0.42), theme)
        _arrow(axis, (7.9, y + 0.42), (8.2, top), theme)
    _box(axis, 8.2, top - 0.55, 1.25, 1.15, "report", "tables, figures,\nprovenance", theme)
    _box(axis, 0.15, 0.2, 3.5, 0.7, "one recipe (YAML)", "decides every stage; DVC runs what changed", theme)
    _box(axis, 3.95, 0.2, 1.6, 0.7, "notebooks", "one a stage", theme)
    return figure


ROOMS = [
    ("preflight", "checks and costs before a run"),
    ("report", "tables, figures, pages"),
    ("evaluation", "stages sensitivity, fidelity, control"),
    ("distillation", "base losses, GAD and controls, training"),
    ("metrics", "numbers of responses and images"),
    ("data", "datasets and noise pairs"),
    ("models", "networks and how they are sampled"),
    ("config", "what a recipe may say"),
    ("diffusion", "samplers, schedules, derivatives"),
    ("runtime", "processes, files, caches"),
]


def draw_rooms(theme: dict):
    """The ten rooms of src/gad, floor by floor: imports point downwards."""
    floors = [
        ["preflight"],
        ["report"],
        ["distillation", "evaluation"],
        ["metrics"],
        ["data"],
        ["models"],
        ["config"],
        ["diffusion"],
        ["runtime"],
    ]
    texts, height = dict(ROOMS), 0.62
    figure, axis = _canvas(8.6, len(floors) * (height + 0.12) + 0.2)
    for level, names in enumerate(floors):
        y = (len(floors) - 1 - level) * (height + 0.12) + 0.12
        width = (7.2 - 0.2 * (len(names) - 1)) / len(names)
        for number, name in enumerate(names):
            _box(axis, 0.15 + number * (width + 0.2), y, width, height, name, texts[name], theme)
    _arrow(axis, (7.85, len(floors) * (height + 0.12)), (7.85, 0.15), theme)
    axis.text(
        8.15,
        len(floors) * (height + 0.12) / 2,
        "imports point downwards",
        rotation=270,
        ha="center",
        va="center",
        fontsize=12,
        color=theme[INK],
    )
    return figure


FIGURES = {name.removeprefix("draw_"): draw for name, draw in list(globals().items()) if name.startswith("draw_")}


def save(name: str) -> None:
    """Both forms of a figure."""
    for mode, theme in THEMES.items():
        ink, grid = theme[INK], theme[GRID]
        colours = {
            "text.color": ink,
            "axes.labelcolor": ink,
            "axes.edgecolor": grid,
            "grid.color": grid,
            "xtick.color": ink,
            "ytick.color": ink,
            "xtick.labelcolor": ink,
            "ytick.labelcolor": ink,
            "figure.facecolor": "none",
            "axes.facecolor": "none",
            "savefig.facecolor": "none",
            "svg.hashsalt": name,
            "figure.constrained_layout.use": True,
            "font.size": 12,
            "grid.linewidth": 0.8,
            "axes.linewidth": 1,
        }
        with plt.rc_context(colours):
            figure = FIGURES[name](theme)
            path = FOLDER / f"{name.replace('_', '-')}-{mode}.svg"
            figure.savefig(path, format="svg", dpi=160, metadata={"Date": None})
            plt.close(figure)
        text = "\n".join(line.rstrip() for line in path.read_text().splitlines())
        path.write_text(text + "\n")
        print(path.relative_to(ROOT))


def main(names: list[str]) -> None:
    for name in names or FIGURES:
        save(name)


if __name__ == "__main__":
    main(sys.argv[1:])
