"""One function per figure: arrays in, Figure out. Every axis has a name.

A figure's module is imported when the figure is first asked for: a stage draws a few of them.
"""

from importlib import import_module
from typing import Any

_MODULES = {
    "ablation_panels": ["ablation_marks"],
    "control": [
        "control_score_curves",
        "control_request_plot",
        "control_request_strips",
        "control_same_prompt_grid",
        "control_seed_grids",
        "control_trade_off_plot",
    ],
    "explorer_strip": ["explorer_strip_png"],
    "response_lines": ["noise_level_curves", "response_curves", "singular_value_lines", "response_step_curves"],
    "sweep_frontier": ["draw_frontier", "frontier", "has_frontier"],
    "layout": ["layout_grid"],
    "metrics": ["metric_bars"],
    "outputs": ["output_grid", "image_grid", "point_clouds", "outputs_to_pixels"],
    "seeds": ["seed_learning_curves", "seed_bars"],
    "style": ["PALETTE"],
    "training": ["training_curves"],
    "validation": ["validation_curves", "validation_strips"],
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """The figure of that name. Raises AttributeError where there is none."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
