"""Ablations: settings that a recipe refuses are refused before anything runs, and tables show what was recorded."""

import subprocess
import sys
from pathlib import Path

import pytest

from gad.ablations import experiment_name, load_ablations, overrides, table
from gad.config import RecipeError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def write(tmp_path):
    def write(setting: str, common: str = "{}", extra: str = ""):
        path = tmp_path / "ablations.yaml"
        lines = ["a:", "  title: t", "  recipe: smoke", f"  common: {common}", "  settings:", f"    - {setting}", extra]
        path.write_text("\n".join(lines))
        return path

    return write


def test_the_projects_ablations_are_all_possible():
    ablations = load_ablations(ROOT / "pipelines" / "ablations.yaml")
    assert {"weight", "step", "schedule", "gates", "directions"} <= set(ablations)
    names = [experiment_name(name, a, s) for name, a in ablations.items() for s in a.settings]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("{student.gad_wieght: 1.0}", "recipe smoke has no key student.gad_wieght"),
        ("{gad_weight: 1.0}", "has no key gad_weight"),
        ("{noise_pairs.perturbation_scale: 1.0e-9}", "drowns in the rounding"),
        ("{student.gad_weight: -1.0}", "greater than or equal to 0"),
    ],
)
def test_an_impossible_setting_is_refused_in_one_line(write, setting, message):
    with pytest.raises(RecipeError, match=message) as error:
        load_ablations(write(setting))
    assert "\n" not in str(error.value)


def test_an_unknown_key_of_an_ablation_is_refused(write):
    with pytest.raises(RecipeError, match="ablation a: colour"):
        load_ablations(write("{student.gad_weight: 1.0}", extra="  colour: red"))


def test_overrides_are_what_dvc_takes_and_names_depend_on_them_alone(write):
    one = load_ablations(write("{student.gad_interval: [0.2, 0.6]}", common="{student.seeds: [0, 1]}"))["a"]
    assert overrides(one, one.settings[0]) == [
        "pipelines/recipes/smoke.yaml:student.seeds=[0, 1]",
        "pipelines/recipes/smoke.yaml:student.gad_interval=[0.2, 0.6]",
    ]
    other = load_ablations(write("{student.gad_interval: [0.2, 0.6]}"))["a"]
    names = {experiment_name("a", a, a.settings[0]) for a in (one, one.model_copy(update={"title": "x"}), other)}
    assert len(names) == 2


def test_the_table_holds_what_was_recorded_and_skips_what_is_missing(write):
    ablation = load_ablations(write("{student.gad_weight: 0.1}\n    - {student.gad_weight: 0.2}"))["a"]
    number = {"mean": 0.5, "low": 0.4, "high": 0.6, "n": 3}
    values = {"map_error_median": number, "jvp_cosine": number | {"mean": 0.7}, "gain_median": number}
    recorded = {"isotropic": {"gad": values}, "isotropic_minus_baseline": {"gad": values}}
    rows = table(ablation, [None, recorded])
    assert rows["setting"].tolist() == ["gad_weight 0.2"]
    assert rows.loc[0, "JVP cosine mean"] == 0.7 and rows.loc[0, "median gain n"] == 3


def test_an_unknown_ablation_is_one_line():
    command = [sys.executable, ROOT / "pipelines" / "ablate.py", "wieght"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "error: unknown ablation 'wieght'; there are: weight, step, schedule, gates, directions"
    )
