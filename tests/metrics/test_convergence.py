"""Trained or not converged, by examples that can be checked by hand."""

import pandas as pd
import pytest

from gad.metrics.convergence import Convergence, convergence, convergence_of_curves
from gad.metrics.statistics import Estimate

NAN = float("nan")


def around(mean: float, half: float) -> Estimate:
    return Estimate(mean, mean - half, mean + half, 8)


def curves(**values) -> pd.DataFrame:
    """Rows of one seed after 0, 50, 100 and 200 steps, every interval ±.05."""
    table = pd.DataFrame({"seed": 0, "step": [0, 50, 100, 200]})
    for name, column in values.items():
        table[name] = column
        if not name.endswith("_teacher"):
            table[f"{name}_low"], table[f"{name}_high"] = table[name] - 0.05, table[name] + 0.05
    return table


def test_a_student_whose_metrics_rest_and_that_shows_what_the_teacher_shows_is_trained():
    resting = {"jvp_cosine": around(0.5, 0.1)}, {"jvp_cosine": around(0.55, 0.1)}
    found = convergence(*resting, accuracy=0.81, teacher_accuracy=0.9)
    assert found == Convergence() and found.trained and str(found) == "trained"


def test_exactly_ninety_percent_of_the_teachers_accuracy_is_enough_and_less_is_not():
    assert convergence({}, {}, accuracy=0.9, teacher_accuracy=1.0).trained
    found = convergence({}, {}, accuracy=0.89, teacher_accuracy=1.0)
    assert str(found) == "not converged: object accuracy 0.89 is below 90 % of the teacher's 1.00"


def test_a_metric_may_move_by_its_intervals_half_width_and_no_further():
    before = {"jvp_cosine": around(0.5, 0.125)}
    assert convergence(before, {"jvp_cosine": around(0.625, 0.125)}).trained
    found = convergence(before, {"jvp_cosine": around(0.75, 0.125)})
    assert found.reasons == ("jvp cosine moved by 0.25, its interval is ±0.12",)


def test_a_fall_counts_as_a_rise_does():
    assert not convergence({"jvp_cosine": around(0.5, 0.1)}, {"jvp_cosine": around(0.3, 0.1)}).trained


def test_of_two_intervals_the_wider_one_counts():
    assert convergence({"seeds": around(0.9, 0.1)}, {"seeds": around(0.975, 0.0)}).trained


def test_one_metric_that_moves_is_enough_and_every_such_one_is_named():
    before = {"a": around(0.5, 0.1), "b": around(0.5, 0.1), "c": around(0.5, 0.1)}
    after = {"a": around(0.5, 0.1), "b": around(0.8, 0.1), "c": around(0.1, 0.1)}
    assert [reason.split(" ")[0] for reason in convergence(before, after).reasons] == ["b", "c"]


def test_a_metric_without_an_interval_and_one_that_is_nan_cannot_show_that_they_rest():
    without = {"jvp_cosine": Estimate(0.5, NAN, NAN, 1)}
    assert not convergence(without, without).trained
    assert not convergence({"gain": around(NAN, 0.1)}, {"gain": around(0.5, 0.1)}).trained
    assert not convergence({}, {}, accuracy=NAN, teacher_accuracy=0.9).trained


def test_the_last_doubling_of_a_curve_alone_counts():
    early = curves(
        jvp_cosine=[0.0, 0.4, 0.7, 0.72], object_accuracy=[0.1, 0.5, 0.8, 0.82], object_accuracy_teacher=0.85
    )
    assert convergence_of_curves(early).trained
    late = curves(jvp_cosine=[0.7, 0.7, 0.7, 0.8])
    assert convergence_of_curves(late).reasons == ("jvp cosine moved by 0.1, its interval is ±0.05",)


def test_a_last_step_between_two_doublings_is_compared_with_one_up_to_its_half():
    table = curves(jvp_cosine=[0.0, 0.5, 0.72, 0.72]).assign(step=[0, 50, 100, 150])
    assert convergence_of_curves(table).reasons == ("jvp cosine moved by 0.22, its interval is ±0.05",)


def test_seeds_are_averaged_first():
    one, other = curves(gain=[0, 0, 0.5, 0.6]), curves(gain=[0, 0, 0.5, 0.4]).assign(seed=1)
    assert not convergence_of_curves(one).trained and not convergence_of_curves(other).trained
    assert convergence_of_curves(pd.concat([one, other])).trained


@pytest.mark.parametrize("steps", [[0], [0, 50]])
def test_too_few_steps_are_not_converged_in_one_line(steps):
    table = curves(gain=[0.5] * 4)
    found = convergence_of_curves(table[table["step"].isin(steps)])
    assert str(found) == f"not converged: {steps[-1]} steps are too few: nothing was measured after half of them"
