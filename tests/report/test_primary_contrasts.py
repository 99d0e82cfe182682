"""Primary contrasts: GAD against other variants, with intervals and p-values that hold together."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gad.metrics.statistics import crossed_mean, holm
from gad.report import result_tables
from gad.report.primary_contrasts import contrast_table, primary_contrasts
from gad.runtime import paths

VARIANTS = ("baseline", "noise_augmentation", "gad")
SEEDS, NOISES = 3, 6


@pytest.fixture
def numbers() -> dict:
    """``[seeds, noises]`` by outcome and variant."""
    generator = np.random.default_rng(0)
    outcomes = ("jvp_cosine", "object_accuracy", "seed_retrieval_accuracy", "mode_coverage")
    return {(name, variant): generator.random((SEEDS, NOISES)) for name in outcomes for variant in VARIANTS}


@pytest.fixture
def recipe(numbers, tmp_path, monkeypatch):
    """A recipe whose stages have written those numbers; its anchor has one seed."""
    monkeypatch.setattr(paths, "DATA", tmp_path)

    def rows(*names: str, sample: str) -> pd.DataFrame:
        entries = [
            {"variant": variant, "seed": seed, sample: number}
            | {name: numbers[name, variant][seed, number] for name in names}
            for variant in VARIANTS
            for seed in range(SEEDS)
            for number in range(NOISES)
        ]
        alone = [entry | {"variant": "pointwise_anchor"} for entry in entries if entry["seed"] == 0]
        return pd.DataFrame(entries + alone).sample(frac=1, random_state=0)

    cosines = rows("jvp_cosine", sample="noise")
    both = [cosines.assign(directions="isotropic", jvp_cosine=7.0), cosines.assign(directions="isotropic, h = 0.5")]
    tables = {
        "sensitivity/samples": pd.concat(both),
        "fidelity/fidelity": rows("object_accuracy", sample="sample"),
        "control/diversity": rows("seed_retrieval_accuracy", "mode_coverage", sample="prompt"),
    }
    for name, table in tables.items():
        path = tmp_path / "mine" / f"{name}.parquet"
        path.parent.mkdir(parents=True)
        table.to_parquet(path)
    return "mine"


def test_differences_are_those_at_equal_seeds_and_noises(recipe, numbers):
    found = {(row["reference"], row["outcome"]): row for row in primary_contrasts(recipe)}
    assert {reference for reference, _ in found} == {"noise_augmentation", "baseline"}  # the anchor has one seed
    assert {outcome for _, outcome in found} == {
        "JVP cosine, isotropic, h = 0.5 ↑",
        "object accuracy ↑",
        "seed retrieval accuracy ↑",
        "mode coverage",
    }
    row = found["noise_augmentation", "object accuracy ↑"]
    expected = crossed_mean(numbers["object_accuracy", "gad"] - numbers["object_accuracy", "noise_augmentation"])
    assert (row["mean"], row["n"], row["samples"]) == (pytest.approx(expected.mean), SEEDS, NOISES)


def test_intervals_and_p_values_of_a_reference_hold_together(recipe, numbers):
    rows = [row for row in primary_contrasts(recipe) if row["reference"] == "baseline"]
    names = ("jvp_cosine", "object_accuracy", "seed_retrieval_accuracy", "mode_coverage")
    estimates = [crossed_mean(numbers[name, "gad"] - numbers[name, "baseline"]) for name in names]
    p = []
    for row, estimate in zip(rows, estimates, strict=True):
        error = (estimate.high - estimate.low) / 2 / stats.t.ppf(0.975, estimate.freedom)
        half = stats.t.ppf(1 - 0.05 / 2 / len(rows), estimate.freedom) * error
        assert (row["low"], row["high"]) == pytest.approx((estimate.mean - half, estimate.mean + half))
        p.append(2 * stats.t.sf(abs(estimate.mean) / error, estimate.freedom))
    assert [row["p_holm"] for row in rows] == pytest.approx(list(holm(p)))


def test_the_table_has_a_row_an_outcome_and_none_where_nothing_is_contrasted(recipe, monkeypatch):
    table = contrast_table(primary_contrasts(recipe))
    assert table["GAD less"].tolist() == ["noise augmentation"] * 4 + ["baseline"] * 4
    assert table["difference"].str.contains(r"\[").all()
    assert contrast_table([]).empty


def test_covered_arcs_are_counted_where_outputs_are_points(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "DATA", tmp_path)
    rows = [
        {"variant": variant, "seed": seed, "prompt": prompt, "arc": arc % spread}
        for variant, spread in (("gad", 8), ("baseline", 4))
        for seed in range(2)
        for prompt in range(2)
        for arc in range(16)
    ]
    for stage, name in (("sensitivity", "samples"), ("control", "diversity")):
        (tmp_path / "roll" / stage).mkdir(parents=True)
        table = pd.DataFrame(rows).assign(directions="isotropic", noise=0, jvp_cosine=0.0)
        table = table.drop(columns="noise" if stage == "control" else "prompt")
        table.to_parquet(tmp_path / "roll" / stage / f"{name}.parquet")
    coverage = [row for row in primary_contrasts("roll") if row["outcome"] == "mode coverage"]
    assert [row["mean"] for row in coverage] == [0.25]


def test_results_have_a_table_a_reference_and_topic_bold_where_the_adjusted_p_is_small(tmp_path, monkeypatch):
    monkeypatch.setattr(result_tables, "RESULTS", tmp_path)
    row = {"outcome": "JVP cosine ↑", "mean": 0.25, "low": 0.125, "high": 0.5, "minimum_detectable": 0.0625}
    for recipe, p in (("one", 0.04), ("two", 0.06)):
        rows = [row | {"reference": "pointwise_anchor", "p_holm": p}]
        (tmp_path / f"{recipe}.json").write_text(json.dumps({"metrics": {}, "contrasts": rows}))
    lines = result_tables.Contrasts({"one": "LADD", "two": "SiD"}, {"pointwise_anchor": "anchor"}).lines()
    assert lines[2:6] == [
        "| | JVP cosine ↑ |",
        "|---|---|",
        "| LADD | **0.250\N{NO-BREAK SPACE}[0.125, 0.500]** |",
        "| SiD | 0.250\N{NO-BREAK SPACE}[0.125, 0.500] |",
    ]
    assert lines[0] == "*GAD − anchor, response*" and lines[lines.index("|---|---|", 5) + 1] == "| LADD | 0.062 |"
