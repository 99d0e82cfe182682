"""A sweep on validation noises: its table holds the ends of held-out curves, and its frontier shows them."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from scripts import load_script

from gad.config import RecipeError
from gad.metrics.statistics import paired_difference, t_interval_over_seeds
from gad.report import ablation_sections
from gad.report.ablations import ablation_experiment_name, load_ablations
from gad.report.figures import ablation_marks, frontier, has_frontier
from gad.report.page_tables import ablation_page_table
from gad.report.validation_sweep import validation_sweep_table

ablate = load_script("pipelines/ablate.py")
SWEEP = "gradient_ratio_tdm"
SEEDS = (100, 101, 102)


@pytest.fixture
def sweep():
    return load_ablations()[SWEEP]


def curves(gain: float) -> pd.DataFrame:
    """Held-out curves of three seeds: after 200 steps the cosine of seed s has moved by ``gain`` and s thousandths."""
    rows = []
    for seed in SEEDS:
        for step, moved in ((0, 0.0), (50, gain / 2), (200, gain + (seed - 100) / 1000)):
            row = {"seed": seed, "step": step, "map_error_median": 0.3 - moved, "object_accuracy": 0.7 + moved / 10}
            row |= {"jvp_cosine_isotropic": 0.5 + moved, "jvp_cosine_low_frequency": 0.4 + moved}
            row |= {"gain_median_isotropic": 1.0, "gain_median_low_frequency": 1.1}
            rows.append(row | {f"{name}_{end}": 0.0 for name in row if "_" in name for end in ("low", "high")})
    return pd.DataFrame(rows)


def by_variant(anchor: float) -> dict[str, pd.DataFrame]:
    return {"baseline": curves(-0.1), "gad": curves(0.02), "pointwise_anchor": curves(anchor)}


def test_a_row_is_the_end_of_the_curves_with_its_interval_over_seeds(sweep):
    table = validation_sweep_table(sweep, [None, by_variant(0.0), by_variant(0.05)])
    assert table["setting"].unique().tolist() == ["gradient_ratio 1.0", "gradient_ratio 5.0"]
    rows = table[(table["directions"] == "low_frequency") & (table["setting"] == "gradient_ratio 5.0")]
    rows = rows.set_index("variant")
    assert rows.index.tolist() == ["initialisation", "baseline", "gad", "pointwise_anchor"]
    assert rows.loc["initialisation", "JVP cosine mean"] == pytest.approx(0.4)
    expected = t_interval_over_seeds([0.45, 0.451, 0.452])
    assert rows.loc["pointwise_anchor", "JVP cosine mean"] == pytest.approx(expected.mean)
    assert rows.loc["pointwise_anchor", "JVP cosine high"] == pytest.approx(expected.high)
    assert rows.loc["pointwise_anchor", "JVP cosine n"] == 3
    assert rows.loc["gad", "median gain mean"] == pytest.approx(1.1)


def test_differences_to_the_baseline_pair_equal_seeds(sweep):
    moved = by_variant(0.05)
    moved["gad"] = moved["gad"].iloc[::-1]  # another order of rows changes nothing
    table = validation_sweep_table(sweep, [moved, None, None])
    row = table[(table["variant"] == "gad") & (table["directions"] == "isotropic")].iloc[0]
    expected = paired_difference([0.52, 0.521, 0.522], [0.4, 0.401, 0.402])
    assert row["JVP cosine, minus baseline mean"] == pytest.approx(expected.mean)
    assert row["JVP cosine, minus baseline low"] == pytest.approx(expected.low)
    baseline = table[table["variant"] == "baseline"]
    assert baseline["JVP cosine, minus baseline mean"].isna().all()


def test_the_frontier_joins_the_settings_of_a_term_and_marks_what_none_changes_once(sweep):
    table = validation_sweep_table(sweep, [by_variant(0.0), by_variant(0.03), by_variant(0.05)])
    assert has_frontier(table) and not has_frontier(table[table["setting"] == "gradient_ratio 1.0"])
    figure = frontier(table, title="t")
    isotropic = next(axis for axis in figure.axes if axis.get_title().startswith("isotropic"))
    lines = {line.get_label(): line for line in isotropic.lines if not line.get_label().startswith("_")}
    assert list(lines) == ["after regression", "baseline", "gad", "pointwise anchor"]
    assert lines["pointwise anchor"].get_ydata() == pytest.approx([0.501, 0.531, 0.551])
    assert len(lines["baseline"].get_xdata()) == len(lines["after regression"].get_xdata()) == 1
    marks = [line for line in isotropic.lines if line.get_label().startswith("_") and len(line.get_xdata()) == 1]
    of_anchor = [mark for mark in marks if mark.get_color() == lines["pointwise anchor"].get_color()]
    assert [float(mark.get_ydata()[0]) for mark in of_anchor] == pytest.approx([0.501, 0.531, 0.551])
    sizes = [mark.get_markersize() for mark in of_anchor]
    assert sizes == sorted(set(sizes))  # a larger one for each weight
    plt.close(figure)


def test_tables_and_panels_of_ablations_read_a_sweeps_table(sweep):
    table = validation_sweep_table(sweep, [by_variant(0.0), by_variant(0.03), by_variant(0.05)])
    shown = ablation_page_table(table)
    assert shown.loc[2, "JVP cosine, minus baseline"].startswith("0.12 [")
    figure = ablation_marks(table, title="t")
    assert {axis.get_xlabel() for axis in figure.axes} >= {"JVP cosine", "object accuracy"}
    plt.close(figure)


def test_the_report_has_the_frontier_of_a_recorded_sweep_and_none_without(sweep, tmp_path, monkeypatch):
    def recorded(recipe, known, folder=tmp_path):
        return {SWEEP: ("heading", table)} if recipe == sweep.recipe else {}

    table = validation_sweep_table(sweep, [by_variant(0.0), by_variant(0.03), by_variant(0.05)])
    monkeypatch.setattr(ablation_sections, "recorded_ablation_tables", recorded)
    figure = ablation_sections.frontier_report_section("compact_tdm")
    assert figure.get_suptitle() == "heading"
    assert ablation_sections.frontier_report_section("smoke") is None
    plt.close(figure)


def test_a_sweep_runs_its_students_alone_and_reads_their_curves_from_what_dvc_recorded(sweep, tmp_path, monkeypatch):
    asked = []

    def get(command, url, path, rev, revision, out, file, check):
        asked.append((path, revision))
        by_variant(0.05)[Path(path).parent.name].to_csv(file, index=False)

    names = [ablation_experiment_name(SWEEP, sweep, setting) for setting in sweep.settings]
    monkeypatch.setattr(ablate, "ROOT", tmp_path)
    monkeypatch.setattr(ablate, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(ablate, "recorded", lambda base: {names[1]: "1a2b3c4"})
    monkeypatch.setattr(ablate, "dvc", get)
    targets = [f"student@compact_tdm-{variant}" for variant in ("baseline", "gad", "pointwise_anchor")]
    assert ablate.targets_of(sweep) == targets
    table = pd.read_csv(ablate.tabulate(SWEEP, sweep, "base"))
    assert table["setting"].unique().tolist() == ["gradient_ratio 1.0"]
    assert asked == [(f"data/compact_tdm/student/{name}/validation.csv", "1a2b3c4") for name in sweep.variants]


def test_a_sweep_whose_curves_dvc_has_lost_is_a_missing_setting_and_no_end(sweep, tmp_path, monkeypatch, capsys):
    names = [ablation_experiment_name(SWEEP, sweep, setting) for setting in sweep.settings]
    monkeypatch.setattr(ablate, "RESULTS", tmp_path)
    monkeypatch.setattr(ablate, "recorded", lambda base: {names[1]: "1a2b3c4"})
    monkeypatch.setattr(ablate, "dvc", lambda *arguments, check: "")
    assert ablate.tabulate(SWEEP, sweep, "base") is None
    assert "validation.csv of 1a2b3c4 is not in DVC's cache" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("recipe", "extra", "message"),
    [
        ("smoke", "", "recipe smoke has no student.validation to measure on"),
        ("compact_tdm", "  retained: true", "retained has no effect with noises: validation"),
        ("compact_tdm", "  noises: all", "noises"),
    ],
)
def test_a_sweep_that_could_not_be_measured_is_refused_in_one_line(tmp_path, recipe, extra, message):
    path = tmp_path / "ablations.yaml"
    lines = ["a:", "  title: t", f"  recipe: {recipe}", "  settings:", "    - {student.gad_weight: 0.5}"]
    noises = [] if "noises" in extra else ["  noises: validation"]
    path.write_text("\n".join([*lines, *noises, extra]))
    with pytest.raises(RecipeError, match=message) as error:
        load_ablations(path)
    assert "\n" not in str(error.value)
