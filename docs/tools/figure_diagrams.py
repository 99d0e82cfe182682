"""The two diagrams: the pipeline and the ten rooms."""

import matplotlib.pyplot as plt
from figure_style import FILL, INK, colour
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch


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
