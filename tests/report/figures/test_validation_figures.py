"""The figure of held-out curves."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from gad.report import figures


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def curves():
    """Two seeds of two variants; the second one is trained for longer."""
    rows = [
        {"variant": variant, "seed": seed, "step": step, "jvp_cosine_isotropic": 0.1 * place + seed,
         "object_accuracy": 0.5, "object_accuracy_teacher": 0.8}
        for variant, steps in (("gad", [0, 50, 100, 110]), ("equal_time", [0, 50, 100, 165]))
        for seed in (0, 1)
        for place, step in enumerate(steps)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_each_metric_has_a_panel_with_the_mean_over_seeds_and_a_band_from_lowest_to_highest(curves):
    figure = figures.validation_curves(curves)
    axis = figure.axes[0]
    lines = {line.get_label(): line for line in axis.lines}
    assert [axis.get_ylabel() for axis in figure.axes] == ["JVP cosine, isotropic ↑", "object accuracy ↑"]
    assert list(lines["gad"].get_ydata()) == pytest.approx([0.5, 0.6, 0.7, 0.8])
    band = axis.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((0.0, 1.3))


def test_steps_are_logarithmic_with_initialisation_apart_and_labels_that_do_not_touch(curves):
    axis = figures.validation_curves(curves).axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["0", "50", "100", "165"]
    assert list(axis.get_xticks()) == [25, 50, 100, 165] and axis.get_xscale() == "log"


def test_the_teacher_and_what_a_student_has_to_reach_are_drawn_where_they_are_known(curves):
    figure = figures.validation_curves(curves)
    levels = {line.get_label(): line.get_ydata()[0] for line in figure.axes[1].lines if len(line.get_ydata()) == 2}
    assert levels["teacher"] == 0.8 and levels["90 % of the teacher's"] == pytest.approx(0.72)
    shown = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert shown == ["equal time", "gad", "teacher", "90 % of the teacher's"]


def test_the_untrained_student_has_a_mark_at_initialisation_alone(curves):
    figure = figures.validation_curves(curves[curves["step"] == 0])
    marks = [list(line.get_xdata()) for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 1]
    assert marks and all(at == [0.5] for at in marks)


def test_a_recipe_without_validation_has_no_figure():
    assert figures.validation_curves(pd.DataFrame()) is None and figures.validation_strips({}) is None


def test_image_rows_stand_below_each_other_under_their_names():
    row = np.zeros((8, 40, 3), dtype=np.uint8)
    figure = figures.validation_strips({"teacher": row, "0 steps": row})
    assert [axis.get_ylabel() for axis in figure.axes] == ["teacher", "0 steps"]
