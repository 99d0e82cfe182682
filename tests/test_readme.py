"""The README says what the results say."""

import pytest

from gad.artifacts import ROOT
from gad.readme import Metric, with_tables

README = (ROOT / "README.md").read_text()


def test_the_readmes_tables_are_those_of_the_results():
    assert with_tables(README) == README, "run: python -m gad.readme"


def test_a_table_without_its_mark_is_missed():
    with pytest.raises(ValueError, match="should have the mark <!-- table emoji --> once, not 0 times"):
        with_tables(README.replace("<!-- table emoji -->", ""))


def test_a_difference_stands_in_the_group_of_its_stage():
    metrics = {
        "sensitivity": {"isotropic_minus_baseline": {"gad": {"jvp_cosine": {"mean": 0.1}}}},
        "control": {"minus_baseline": {"gad": {"noun_right": {"mean": 0.2}}}},
    }
    cosine = Metric("", "sensitivity", "isotropic", "jvp_cosine")
    assert cosine.estimate(metrics, "gad", difference=True)["mean"] == 0.1
    noun = Metric("", "control", "over_seeds", "noun_right")
    assert noun.estimate(metrics, "gad", difference=True)["mean"] == 0.2
    assert noun.estimate(metrics, "gad_anchor", difference=True) is None
