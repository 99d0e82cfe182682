"""What figures show: every model that a table holds, by its name."""

import matplotlib
import pandas as pd
import pytest
import seaborn
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb

from gad.report import figures
from gad.report.figures.style import THEME, variant_styles


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_figures_look_as_seaborns_theme():
    def values() -> dict:
        cycle = [to_rgb(colour) for colour in matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]]
        return dict(matplotlib.rcParams) | {"axes.prop_cycle": cycle, "image.cmap": None}  # its colour map is not used

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(THEME)
        ours = values()
        matplotlib.rcdefaults()
        seaborn.set_theme(style="whitegrid", context="notebook")
        assert values() == ours


@pytest.mark.parametrize("name", figures.__all__)
def test_every_figure_is_found_where_the_package_says(name):
    assert getattr(figures, name) is not None


def labels(axis) -> list[str]:
    return [text.get_text().replace("\n", "_") for text in axis.get_xticklabels()]


def test_models_from_elsewhere_stand_after_ours_in_the_bars():
    table = pd.DataFrame({"variant": ["sd_turbo", "gad", "gad", "baseline"], "jvp_cosine": [0.1, 0.4, 0.6, 0.2]})
    axis = figures.metric_bars(table, {"jvp_cosine": "cosine"}).axes[0]
    assert labels(axis) == ["baseline", "gad", "sd_turbo"]
    means = [list(line.get_ydata()) for line in axis.lines]
    assert [0.2, 0.5, 0.1] in [[round(float(value), 6) for value in line] for line in means]


def test_panels_on_one_scale_can_be_compared_by_height():
    table = pd.DataFrame({"variant": ["baseline", "gad"], "random": [0.01, 0.02], "optimised": [0.3, 0.4]})
    both = {"random": "random", "optimised": "optimised"}
    limits = [axis.get_ylim() for axis in figures.metric_bars(table, both, one_scale=True).axes]
    assert limits[0] == limits[1] and limits[0][1] > 0.4
    assert figures.metric_bars(table, both).axes[0].get_ylim()[1] < 0.1


def test_a_bar_of_a_single_model_has_the_interval_over_its_images():
    table = pd.DataFrame(
        {
            "variant": ["teacher", "other"],
            "seed": [0, 0],
            **{f"{name}{end}": [0.5, 0.4 + offset] for name in ("seed_identification_accuracy",
            "teacher_trained_seed_accuracy")
               for end, offset in (("", 0.0), ("_low", -0.1), ("_high", 0.2))},
        }
    )  # fmt: skip
    axes = figures.seed_bars(table, num_seeds=4, title="x").axes
    assert labels(axes[0])[-1] == "other"


def test_a_response_curve_is_the_mean_over_seeds():
    rows = {"variant": ["teacher"] * 2 + ["gad"] * 4, "seed": [0, 0, 0, 0, 1, 1], "h": [0.0, 1.0] * 3}
    table = pd.DataFrame(rows | {"change": [0.0, 0.9, 0.0, 0.2, 0.0, 0.6]})
    lines = {line.get_label(): line for line in figures.response_curves(table).axes[0].lines}
    assert list(lines["teacher"].get_ydata()) == [0, 0.9] and list(lines["gad"].get_xdata()) == [0, 1]
    assert lines["gad"].get_ydata()[1] == pytest.approx(0.4)


@pytest.mark.parametrize("count, shape", [(3, (8, 24)), (8, (16, 32))])
def test_a_grid_of_seeds_is_drawn_for_few_pictures_too(count, shape):
    figure = figures.control_seed_grids({name: torch.zeros(count, 3, 8, 8) for name in ("teacher", "gad")})
    assert [axis.images[0].get_array().shape[:2] for axis in figure.axes] == [shape, shape]


def test_models_from_elsewhere_are_drawn_beside_ours_and_told_apart():
    names = ["teacher", "sd_turbo", "gad", *(f"foreign_{i}" for i in range(10))]
    found = variant_styles(names)
    assert list(found)[:2] == ["teacher", "gad"]
    assert len({(tuple(look["color"]), look["marker"]) for look in found.values()}) == 13
    table = pd.DataFrame(
        {"variant": names, "seed": 0, "vendi": 1.5, "object_accuracy": 0.5, "hue_rank_correlation": 0.3}
    )
    climbed = pd.concat([table.assign(noise="own", iteration=i, score=float(i)) for i in (0, 1)])
    drawn = [figures.control_trade_off_plot(table, x="object_accuracy", y="vendi"), figures.control_request_plot(table)]
    for figure in [*drawn, figures.control_score_curves(climbed, label="gain")]:
        legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        assert legend == [name.replace("_", " ") for name in found]
        plt.close(figure)


def test_lines_of_models_from_elsewhere_have_colours_and_dashes_of_their_own():
    names = ["teacher", "gad", "foreign"]
    table = pd.DataFrame({"variant": names * 2, "seed": 0, "h": [0.0] * 3 + [1.0] * 3, "change": [0.0] * 3 + [0.1] * 3})
    drawn = figures.response_curves(table).axes[0].lines
    assert [line.get_label() for line in drawn] == names
    assert len({line.get_color() for line in drawn}) == len({line.get_linestyle() for line in drawn}) == 3
