"""One function per figure: arrays in, Figure out. Every axis has a name."""

from gad.figures.ablations import ablation_marks
from gad.figures.metrics import metric_bars, response_curves
from gad.figures.outputs import answers, image_grid, point_clouds, to_pixels
from gad.figures.style import PALETTE
from gad.figures.training import training_curves

__all__ = [
    "PALETTE",
    "ablation_marks",
    "answers",
    "image_grid",
    "metric_bars",
    "point_clouds",
    "response_curves",
    "to_pixels",
    "training_curves",
]
