"""The few numbers that DVC tracks and a report begins with."""

import pytest

from gad.report import headline
from gad.report.headline import headline_caption, headline_numbers, headline_table, headlines
from gad.report.main_results import main_result_metrics
from gad.runtime.files import read_json
from gad.runtime.paths import DATA

COMMITTED = sorted(path.parent.parent.name for path in DATA.glob("*/metrics/headline.json"))


def estimate(mean, low=None, high=None, n=1):
    return {"mean": mean, "low": low, "high": high, "n": n}


@pytest.fixture
def metrics():
    """Three seeds of a 2-D recipe: JVP cosine .5 and .7, and no seeds to retrieve."""
    of = {
        "baseline": {"jvp_cosine": estimate(0.5, 0.4, 0.6, 3), "pointwise_mse": estimate(0.2, 0.1, 0.3, 3)},
        "gad": {"jvp_cosine": estimate(0.7, 0.6, 0.8, 3), "pointwise_mse": estimate(0.1, 0.05, 0.15, 3)},
    }
    two_level = {"gad": {"jvp_cosine, isotropic": estimate(0.2, 0.1, 0.3, 3)}}
    over_seeds = {name: {"mode_coverage": estimate(0.6)} for name in ("teacher", "baseline", "gad")}
    return {
        "sensitivity": {"isotropic": of, "two_level": two_level},
        "fidelity": {"two_level": {}},
        "control": {"over_seeds": over_seeds, "minus_baseline": {}},
    }


def test_a_headline_number_is_the_mean_of_the_metrics_files(metrics):
    found = headline_numbers(metrics)
    assert found["cosine"] == {"baseline": 0.5, "gad": 0.7, "change": 0.2}
    assert found["modes"] == {"baseline": 0.6, "gad": 0.6} and found["map_error"] == {"baseline": 0.2, "gad": 0.1}
    assert "gain" not in found and "seeds" not in found and "frechet" not in found  # none of them is measured


def test_a_recipe_without_gad_has_its_baseline_alone(metrics):
    for group in (metrics["sensitivity"]["isotropic"], metrics["control"]["over_seeds"]):
        del group["gad"]
    metrics["sensitivity"]["two_level"] = {}
    assert headline_numbers(metrics)["cosine"] == {"baseline": 0.5}
    assert headline_table(metrics)["model"].tolist() == ["teacher", "baseline"]


def test_images_are_measured_by_their_response_over_a_finite_step(metrics):
    far = {"isotropic, h = 0.5": metrics["sensitivity"]["isotropic"]}
    assert headline.headline_directions(metrics["sensitivity"] | far) == "isotropic, h = 0.5"
    assert headline.headline_directions(metrics["sensitivity"]) == "isotropic"


def test_the_table_has_a_row_per_model_and_the_difference_last(metrics):
    table = headline_table(metrics)
    assert table["model"].tolist() == ["teacher", "baseline", "gad", "gad − baseline"]
    assert table["seeds"].tolist() == ["", "3", "3", ""]
    assert table["JVP cosine ↑"].tolist()[2:] == ["0.7 [0.6,\N{NO-BREAK SPACE}0.8]", "0.2 [0.1,\N{NO-BREAK SPACE}0.3]"]
    assert table["mode coverage ↑"].tolist()[0] == "0.6" and "isotropic directions" in headline_caption(metrics)


@pytest.mark.parametrize("recipe", COMMITTED)
def test_committed_headline_numbers_are_the_committed_metrics_and_at_most_twelve(recipe, tmp_path, monkeypatch):
    committed = read_json(DATA / recipe / "metrics" / "headline.json")
    metrics = main_result_metrics(recipe)
    monkeypatch.setattr(headline, "metrics_file", lambda recipe, stage: tmp_path / f"{stage}.json")
    headline.save_headline_numbers(recipe, metrics)
    assert read_json(tmp_path / "headline.json") == committed
    assert 4 <= sum(map(len, committed.values())) <= 12 and len(headlines(metrics)) == 4
    assert all(len(f"{name}.{of}") <= 18 for name, values in committed.items() for of in values)  # DVC's columns
