"""Tables of differences, and what stands beside the paper."""

import numpy as np
import pandas as pd
import pytest

from gad.metrics.paired import paired_outputs, paired_table, paired_two_level_intervals, paired_values
from gad.metrics.statistics import t_interval_over_seeds
from gad.report.ablations import METRICS
from gad.report.committed_results import beside_committed_results, changed_since_committed_results
from gad.report.differences import DETECTABLE, SIGNIFICANT, difference_table, further_differences, two_level_differences
from gad.report.direction_kinds import direction_kind_title, direction_kinds
from gad.report.main_results import main_result_tables
from gad.report.page_tables import styled_page_table
from gad.report.paper import image_seeds_beside_ours, layout_beside_ours, response_beside_ours


def estimate(*values):
    return (
        vars(t_interval_over_seeds(values))
        if len(values) > 1
        else {"mean": values[0], "low": None, "high": None, "n": 1}
    )


@pytest.fixture
def metrics():
    row = {name: estimate(0.5, 0.6, 0.55) for name in ("jvp_cosine", "pointwise_mse", "jacobian_norm_ratio")}
    level = {"jvp_cosine at t = 1": estimate(0.1, 0.2, 0.3)}
    path = {f"deviation at t = {t}": estimate(0.3, 0.4, 0.5) for t in ("0.75", "0.5", "0.25", "0")}
    variants = ("baseline", "gad")
    sensitivity = {
        "isotropic": dict.fromkeys(variants, row),
        "isotropic_minus_baseline": {
            "gad": {"jvp_cosine": estimate(0.20, 0.21, 0.22), "pointwise_mse": estimate(-0.1, 0.1, 0.03)}
        },
        "per_noise_level": dict.fromkeys(variants, level),
        "per_noise_level_minus_baseline": {"gad": {"jvp_cosine at t = 1": estimate(0.05, 0.06, 0.1)}},
        "trajectory": dict.fromkeys(variants, path),
        "two_level": {"gad": {"jvp_cosine, isotropic": estimate(0.1, 0.2)}},
    }
    control = {"over_seeds": {"gad": {"vendi": estimate(2.0)}}, "minus_baseline": {"gad": {"vendi": estimate(0.1)}}}
    return {"sensitivity": sensitivity, "fidelity": {}, "control": control}


def test_groups_that_are_no_kinds_of_direction_stay_out_of_the_main_numbers(metrics):
    assert direction_kinds(metrics["sensitivity"]) == ["isotropic"]
    assert direction_kind_title("low_frequency, h = 0.5") == "low-frequency directions, h = 0.5"
    tables = main_result_tables(metrics)
    assert list(tables) == ["Outputs", "Response to the noise, isotropic directions", "Seeds and modes"]
    assert tables["Outputs"].columns.tolist() == ["model", "seeds", "map error", "trajectory deviation at t = 0"]
    assert ("sensitivity", "map_error_median") in METRICS.values()  # ablations read kinds of direction only


def test_main_numbers_have_a_row_per_model_with_its_seeds_and_the_teacher_first(metrics):
    metrics["control"]["over_seeds"]["teacher"] = {"vendi": estimate(3.0), "mode_coverage": estimate(1.0)}
    table = main_result_tables(metrics)["Seeds and modes"]
    assert table.columns.tolist() == ["model", "seeds", "mode coverage", "Vendi (EffLite0)"]
    assert table.to_numpy().tolist() == [["teacher", "", "1", "3"], ["gad", "1", "", "2"]]
    response = main_result_tables(metrics)["Response to the noise, isotropic directions"].set_index("model")
    assert response["seeds"].to_dict() == {"baseline": "3", "gad": "3"}
    assert response.loc["gad", "JVP cosine"] == "0.55 [0.426,\u00a00.674]"  # .55 -+ 4.303 * .05 / sqrt(3)


def test_each_kind_of_direction_has_a_table_of_its_own_and_errors_of_answers_stand_once(metrics):
    sensitivity = metrics["sensitivity"]
    sensitivity["low_frequency, h = 0.5"] = sensitivity["isotropic"]
    titles = list(main_result_tables(metrics))
    assert titles[1:3] == [
        f"Response to the noise, {direction_kind_title(kind)}" for kind in direction_kinds(sensitivity)
    ]
    assert sum("map error" in table for table in main_result_tables(metrics).values()) == 1


def test_scores_of_pictures_are_main_numbers_whatever_the_recipe_calls_them(metrics):
    numbers = {"pickscore": estimate(0.2, 0.3), "hpsv2": estimate(0.1, 0.2), "coverage_to_data": estimate(0.5, 0.6)}
    metrics["fidelity"] |= {"fidelity": dict.fromkeys(("teacher", "gad"), numbers)}
    metrics["fidelity"] |= {"fidelity_minus_baseline": {"gad": numbers}}
    shown = main_result_tables(metrics)["Outputs"]
    assert {"pickscore", "hpsv2"} < set(shown) and "coverage_to_data" not in shown
    quoted = difference_table(metrics)["metric"].tolist()
    assert {"pickscore", "hpsv2"} < set(quoted) and "coverage_to_data" not in quoted


def test_a_difference_that_is_not_clear_says_what_could_have_been_seen(metrics):
    table = difference_table(metrics).set_index("metric")
    assert table.loc["jvp_cosine", SIGNIFICANT] == "yes" and table.loc["jvp_cosine", DETECTABLE] == ""
    assert table.loc["pointwise_mse", SIGNIFICANT] == "" and float(table.loc["pointwise_mse", DETECTABLE]) > 0.1
    assert table.loc["jvp_cosine", "group"] == "isotropic directions"


def test_an_error_of_the_answers_stands_once_however_many_kinds_of_direction_there_are(metrics):
    sensitivity = metrics["sensitivity"]
    sensitivity |= {name.replace("isotropic", "low_frequency"): sensitivity[name] for name in list(sensitivity)[:2]}
    sensitivity["two_level"]["gad"] |= {
        f"{metric}, {kind}": estimate(0.1, 0.2)
        for metric in ("jvp_cosine", "pointwise_mse")
        for kind in ("isotropic", "low_frequency")
    }
    assert difference_table(metrics)["metric"].value_counts().to_dict() == {
        "jvp_cosine": 2,
        "pointwise_mse": 1,
    }
    named = two_level_differences(metrics)["metric"].tolist()
    assert sorted(named) == ["jvp_cosine, isotropic", "jvp_cosine, low_frequency", "pointwise_mse, isotropic"]
    again = beside_committed_results(metrics, {"metrics": metrics})["metric"].tolist()
    assert again.count("map error") == 2 and again.count("JVP cosine, low_frequency") == 2  # rows of two variants
    assert "map error, low_frequency" not in again


def test_p_values_are_adjusted_for_the_main_numbers_alone(metrics):
    table = difference_table(metrics).set_index("metric")
    assert table.index.tolist() == ["jvp_cosine", "pointwise_mse"]
    adjusted = [float(table.loc[name, "p, Holm"]) for name in ("jvp_cosine", "pointwise_mse")]
    assert adjusted[0] == pytest.approx(2 * 0.000756, rel=0.05)  # t = .21 / (.01 / sqrt(3)) with 2 degrees of freedom
    assert adjusted == sorted(adjusted)
    assert table.loc["jvp_cosine", "significant after Holm"] == "yes"
    assert table.loc["pointwise_mse", "significant after Holm"] == ""


def test_all_other_differences_stand_below_without_p_values(metrics):
    table = further_differences(metrics)
    assert table["metric"].tolist() == ["vendi", "jvp_cosine at t = 1"]  # the first has one seed
    assert table["group"].tolist() == ["control", "per_noise_level"]
    assert table[SIGNIFICANT].tolist() == ["", "yes"] and not any("Holm" in name for name in table)


def test_the_intervals_to_quote_cover_seeds_and_noises(metrics):
    row = two_level_differences(metrics).iloc[0]
    assert (row["metric"], row["variant"], row[SIGNIFICANT]) == ("jvp_cosine, isotropic", "gad", "")
    assert row["minus baseline"].startswith("0.15 [-0.4")  # .15 -+ 12.7 * .05
    assert float(row["p, Holm"]) == pytest.approx(0.2, abs=0.01)  # t = 3 with one degree of freedom
    assert float(row[DETECTABLE]) > 0.5
    without = metrics | {"sensitivity": metrics["sensitivity"] | {"two_level": {}}}
    assert two_level_differences(without).empty and direction_kinds(without["sensitivity"]) == ["isotropic"]


def test_sections_that_the_committed_run_had_otherwise_are_named():
    committed = {"provenance": {"section_hashes": {"student": "a", "control": "b"}}}
    assert changed_since_committed_results({"section_hashes": {"student": "a", "control": "c"}}, committed).endswith(
        "run's: control"
    )
    assert changed_since_committed_results(committed["provenance"], committed) == "the recipe is the committed run's"


@pytest.mark.filterwarnings("error")
def test_a_seed_accuracy_that_the_paper_does_not_give_is_left_blank():
    table = image_seeds_beside_ours({"teacher": {"seed_identification_accuracy": estimate(0.5, 0.6)}}).set_index(
        "model"
    )
    assert table.loc["teacher", "paper, teacher alignment"] == "" and table.loc["TCD", "paper, self"] == 87.3


def test_one_seed_has_neither_effect_size_nor_p(metrics):
    kept = {name: group for name, group in metrics["sensitivity"].items() if not name.endswith("_minus_baseline")}
    row = difference_table(metrics | {"sensitivity": kept}).set_index("metric").loc["vendi"]
    assert row["minus baseline"] == "0.1 (n = 1)" and row["effect size"] == row["p, Holm"] == row[DETECTABLE] == ""


def test_the_papers_tables_1_and_4_stand_beside_ours(metrics):
    table = response_beside_ours(metrics["sensitivity"])
    at_noise = table.set_index("metric").loc["trajectory deviation at t = 0.75"]
    assert (at_noise["paper, TDM"], at_noise["paper, +GAD"]) == (0.016, 0.014)
    assert at_noise["ours, gad"].startswith("0.4 [")
    assert table.set_index("metric").loc["JVP cosine", "paper, TDM"] == 0.012
    assert "spectral KL" not in table["metric"].tolist()  # not among these numbers


def samples(effect):
    """Rows of 3 seeds, 8 noises and 2 directions, with strong common parts that pairing removes."""
    rng = np.random.default_rng(0)
    of_noise, of_direction = 10 * rng.standard_normal(8), rng.standard_normal((8, 2))
    rows = [
        {
            "variant": variant, "seed": seed, "noise": n, "direction": k, "directions": "isotropic",
            "score": of_noise[n] + of_direction[n, k] + 0.1 * rng.standard_normal() + effect * (variant == "gad"),
        }
        for variant in ("baseline", "gad") for seed in range(3) for n in range(8) for k in range(2)
    ]  # fmt: skip
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


def test_differences_are_paired_by_seed_and_noise_whatever_the_order_of_rows():
    rows = samples(0.5)
    assert paired_values(rows, "score", "gad").shape == (3, 8)
    row = paired_table(rows, ["score"]).iloc[0]
    for name in ("seeds", "noises", "both"):
        assert row[f"{name} low"] < 0.5 < row[f"{name} high"] and row[f"{name} high"] - row[f"{name} low"] < 0.5
    held = paired_two_level_intervals(paired_table(rows, ["score"]))["gad"]["score, isotropic"]
    assert held["n"] == 3 and held["low"] == row["both low"]


def test_noises_and_seeds_that_one_variant_lacks_are_left_out():
    rows = samples(0.5)
    rows = rows[(rows["variant"] == "baseline") | ((rows["seed"] < 2) & (rows["noise"] > 1))]
    assert paired_values(rows, "score", "gad").shape == (2, 6)


def test_answers_are_paired_by_noise_image_and_prompt():
    rng, models = np.random.default_rng(0), [(name, seed) for name in ("baseline", "gad") for seed in range(2)]
    path, images, seeds = [], [], []
    for name, seed in models:
        model, better = {"variant": name, "seed": seed}, name == "gad"
        path += [model | {"t": t, "noise": n, "deviation": n + t - 0.1 * better} for t in (0.75, 0.0) for n in range(4)]
        of_image = [n + 0.2 * better + 1e-3 * rng.random() for n in range(4)]
        images += [model | {"sample": n, "prompt": "a", "score": score} for n, score in enumerate(of_image)]
        for size, trained_on in ((4, "self"), (8, "self"), (8, "teacher")):
            told = model | {"train_prompts": size, "trained_on": trained_on, "predicted": 0}
            right = better and size == 8 and trained_on == "self"
            seeds += [told | {"prompt": p, "noise": n, "right": right or n == 0} for p in range(3) for n in (0, 1)]
    teacher = {"variant": "teacher", "seed": 0, "sample": 0, "prompt": "a", "score": 9.0}
    rows = {"trajectory": pd.DataFrame(path), "scored": pd.DataFrame([*images, teacher]), "seeds": pd.DataFrame(seeds)}
    table = paired_outputs(["baseline", "gad"], **rows).set_index(["metric", "directions"])
    assert table["variant"].tolist() == ["gad"] * 5
    assert table["difference"].round(2).to_dict() == {
        ("deviation", "t = 0.75"): -0.1,
        ("deviation", "t = 0"): -0.1,
        ("score", "by image"): 0.2,
        ("seed_identification_accuracy", "by prompt"): 0.5,
        ("teacher_trained_seed_accuracy", "by prompt"): 0.0,
    }
    assert table["num_noises"].tolist() == [4, 4, 4, 3, 3]


def test_layout_stands_beside_the_papers_table_5_where_it_was_measured():
    estimate = {"mean": 0.5, "low": 0.4, "high": 0.6, "n": 3}
    names = ("ap_random", "ap_optimised", "ap50_random", "ap50_optimised", "ap50_teacher", "clip_score_optimised")
    measured = dict.fromkeys(names, estimate)
    table = layout_beside_ours({"over_seeds": {"teacher": measured, "baseline": measured}})
    assert table.set_index("model").loc["LADD + GAD", "paper, AP50"] == 20.6
    shown = table.set_index("model")["ours, AP50, optimised noise"]
    assert shown["teacher"] == "0.5 [0.4, 0.6]" and shown["LADD + GAD"] == "" and shown["TCD"] == ""
    for column in ("AP, random noise", "AP50, teacher's optimised noise", "CLIP, optimised noise"):
        assert table.set_index("model").loc["LADD", f"ours, {column}"] == "0.5 [0.4, 0.6]"
    assert table.set_index("model").loc["LADD", "ours, CLIP, random noise"] == ""
    assert layout_beside_ours({"over_seeds": {"teacher": {}}}).empty


def test_a_page_says_once_what_holds_for_all_rows_and_breaks_no_interval():
    notes = ["Order only.", "Order only."]
    table = pd.DataFrame({"paper, AP": [6.6, np.nan], "ours": ["0.5 [0.4, 0.6]", "0.1 (n = 1)"], "comparable?": notes})
    page = styled_page_table(table).to_html()
    assert page.count("Order only.") == 1 and "comparable? Order only.</caption>" in page
    assert ">6.6<" in page and "nan" not in page
    assert "0.5 [0.4,\N{NO-BREAK SPACE}0.6]" in page and "0.1 (n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}1)" in page
    table.loc[1, "comparable?"] = "No."
    assert ">Order only.<" in styled_page_table(table).to_html() and ">No.<" in styled_page_table(table).to_html()
