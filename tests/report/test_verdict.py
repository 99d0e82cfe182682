"""What GAD changed, in words."""

import pytest

from gad.metrics.statistics import effect_statistics
from gad.report.verdict import analysis_outcome, verdict

NOTHING = {"low": None, "high": None, "n": 1}


def metrics_of(cosine: dict, gain: dict | None = None) -> dict[str, dict]:
    """A recipe's metrics in which GAD changes the JVP cosine, paired by noise, and the median gain by this much."""
    start = {"jvp_cosine": cosine | {"mean": 0.5}, "gain_median": cosine | {"mean": 1.4}}
    end = {"jvp_cosine": cosine | {"mean": 0.5 + cosine["mean"]}, "gain_median": cosine | {"mean": 1.1}}
    return {
        "sensitivity": {
            "isotropic": {"baseline": start, "gad": end},
            "isotropic_minus_baseline": {"gad": {"gain_median": gain} if gain else {}},
            "two_level": {"gad": {"jvp_cosine, isotropic": cosine}},
        },
        "fidelity": {},
        "control": {"over_seeds": {}, "minus_baseline": {}},
    }


def test_an_interval_above_zero_is_a_result_and_its_numbers_are_quoted():
    said = verdict(metrics_of({"mean": 0.0588, "low": 0.0493, "high": 0.0682, "n": 5}))
    assert said.startswith("**With GAD the response to the noise is closer to the teacher's:** JVP cosine higher by ")
    assert "higher by 0.059 [0.049, 0.068], n = 5 seeds (isotropic directions)." in said


def test_an_interval_below_zero_is_quoted_as_a_decrease_with_its_ends_in_order():
    said = verdict(metrics_of({"mean": -0.027, "low": -0.048, "high": -0.0057, "n": 5}))
    assert "further from the teacher's:** JVP cosine lower by 0.027 [0.0057, 0.048], n = 5 seeds" in said


def test_an_interval_with_zero_is_not_significant_and_says_what_could_have_been_detected():
    change = {"mean": 0.025, "low": -0.069, "high": 0.12, "n": 3}
    said = verdict(metrics_of(change))
    assert said.startswith("**No significant effect of GAD on the response to the noise:** JVP cosine changes by 0.025")
    detectable = effect_statistics(**change).minimum_detectable
    assert "not significant" in said and f"minimum detectable effect {detectable:.2g}" in said


def test_one_seed_is_an_example_and_no_result():
    said = verdict(metrics_of({"mean": 0.1} | NOTHING, {"mean": -0.3} | NOTHING))
    assert said.startswith("**An example, no result: one student seed.** JVP cosine 0.6 with GAD, 0.5 without")
    assert "[" not in said and "significant" not in said and "Median gain 1.1 with GAD, 1.4 without" in said


def test_a_number_whose_best_is_one_is_said_to_come_nearer_or_not():
    change = {"mean": 0.1, "low": 0.05, "high": 0.15, "n": 5}
    said = verdict(metrics_of(change, {"mean": -0.3, "low": -0.4, "high": -0.2, "n": 5}))
    assert "- Median gain lower by 0.3 [0.2, 0.4], nearer to 1, n = 5 seeds †." in said  # paired by seed alone


def test_a_recipe_without_gad_has_no_verdict():
    metrics = metrics_of({"mean": 0.1} | NOTHING)
    metrics["sensitivity"]["two_level"] = {}
    assert verdict(metrics) == "**No student with GAD to compare with the baseline.**"


@pytest.mark.parametrize("several", [True, False])
def test_an_analysis_says_what_its_intervals_cover_or_that_one_seed_is_an_example(several):
    change = {"mean": 0.1, "low": 0.05, "high": 0.15, "n": 5} if several else {"mean": 0.1} | NOTHING
    said = analysis_outcome("sensitivity", metrics_of(change)["sensitivity"])
    assert said.startswith("JVP cosine higher by 0.1" if several else "JVP cosine 0.6 with GAD") and "\n" not in said
    assert ("other noises" in said) == several and ("no result" in said) != several


def test_a_stage_without_a_headline_number_says_so():
    assert analysis_outcome("fidelity", {"two_level": {}}) == "this recipe measures no headline number here."
