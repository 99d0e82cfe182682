"""One function per figure: arrays in, Figure out. Every axis has a name."""

from gad.figures.metrics import metric_bars, response_curves
from gad.figures.outputs import answers, image_grid, point_clouds, to_pixels
from gad.figures.seeds import learning_curves, seed_bars
from gad.figures.style import PALETTE
from gad.figures.training import training_curves

__all__ = [
    "PALETTE",
    "answers",
    "image_grid",
    "learning_curves",
    "metric_bars",
    "point_clouds",
    "response_curves",
    "seed_bars",
    "to_pixels",
    "training_curves",
]
