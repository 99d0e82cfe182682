"""One function per figure: arrays in, Figure out. Every axis has a name."""

from gad.report.figures.ablations import ablation_marks
from gad.report.figures.control import (
    climbed_scores,
    obeyed_requests,
    request_strips,
    same_prompt,
    seed_grids,
    trade_off,
)
from gad.report.figures.explore import strip_png
from gad.report.figures.geometry import level_curves, spectra_curves, step_curves
from gad.report.figures.layout import layout_grid
from gad.report.figures.metrics import metric_bars, response_curves
from gad.report.figures.outputs import answers, image_grid, point_clouds, to_pixels
from gad.report.figures.seeds import learning_curves, seed_bars
from gad.report.figures.style import PALETTE
from gad.report.figures.training import training_curves

__all__ = [
    "PALETTE",
    "ablation_marks",
    "answers",
    "climbed_scores",
    "image_grid",
    "learning_curves",
    "layout_grid",
    "level_curves",
    "metric_bars",
    "obeyed_requests",
    "point_clouds",
    "request_strips",
    "response_curves",
    "same_prompt",
    "seed_bars",
    "seed_grids",
    "strip_png",
    "spectra_curves",
    "step_curves",
    "to_pixels",
    "trade_off",
    "training_curves",
]
