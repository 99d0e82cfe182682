"""Ablations: settings that a recipe refuses are refused before anything runs, and tables show what was recorded."""

import os
import shutil
import signal
import subprocess
import sys
from functools import reduce
from operator import getitem
from pathlib import Path

import pandas as pd
import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML
from scripts import ROOT, load_script

from gad.config import RecipeError, load_recipe
from gad.config.stage_graph import stage_graph
from gad.report.ablations import (
    QUICK,
    ablation_experiment_name,
    ablation_overrides,
    ablation_result_table,
    load_ablations,
    recorded_ablation_tables,
)
from gad.report.figures import ablation_marks
from gad.report.page_tables import ablation_page_table
from gad.report.paper import paper_ablation
from gad.report.retained_gain import recorded_retained_gain

ablate = load_script("pipelines/ablate.py")


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
    assert {"strategies", "weight", "step", "schedule", "window", "directions"} <= set(ablations)
    names = [ablation_experiment_name(name, a, s) for name, a in ablations.items() for s in a.settings]
    names += [
        ablation_experiment_name(name + QUICK, a.shortened(), s) for name, a in ablations.items() for s in a.settings
    ]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("{student.gad_wieght: 1.0}", "unknown key student.gad_wieght; did you mean gad_weight"),
        ("{gad_weight: 1.0}", "unknown key gad_weight"),
        ("{student.gad_weight.gad: 1.0}", "has no key student.gad_weight.gad"),
        ("{student.variant_weights.random: 1.0}", "'random' has no term to weigh"),
        ("{noise_pairs.perturbation_scale: 1.0e-9}", "drowns in the rounding"),
        ("{student.gad_weight: -1.0}", "greater than or equal to 0"),
    ],
)
def test_an_impossible_setting_is_refused_in_one_line(write, setting, message):
    with pytest.raises(RecipeError, match=message) as error:
        load_ablations(write(setting))
    assert "\n" not in str(error.value)


def test_an_unknown_key_of_an_ablation_is_refused(write):
    with pytest.raises(RecipeError, match="^ablation a: unknown key colour$"):
        load_ablations(write("{student.gad_weight: 1.0}", extra="  colour: red"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "ablations.yaml: expected sections, found NoneType"),
        ("- weight", "ablations.yaml: expected sections, found list"),
        ("a: [", "ablations.yaml: not YAML: "),
        ("weight: 3", "^ablation weight: Input should be"),
    ],
)
def test_a_file_that_holds_no_ablations_is_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "ablations.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message) as error:
        load_ablations(path)
    assert "\n" not in str(error.value)


def test_workers_that_die_one_after_another_are_not_replaced_without_end(monkeypatch):
    monkeypatch.setattr(ablate, "POLL", 0)
    monkeypatch.setattr(ablate, "recorded", lambda base: {})
    monkeypatch.setattr(ablate, "git", lambda *arguments: "base")
    monkeypatch.setattr(ablate, "dvc", lambda *arguments, check=True: "")  # whose queue is empty, without a worker
    monkeypatch.setattr(ablate, "queue", lambda: ({"a-1": "Queued"}, 0))
    with pytest.raises(SystemExit, match="3 workers ended one after another with nothing done"):
        ablate.run({"a-1": []}, [], 1, "base")


def apply(changes: list[str], source: str, copy: Path) -> None:
    """Make a copy of ``source`` and change it as DVC does it for an experiment."""
    shutil.copy(ROOT / source, copy)
    apply_overrides(str(copy), [change.removeprefix(f"{source}:") for change in changes if change.startswith(source)])


def test_dvc_takes_every_override_and_makes_the_recipe_that_was_meant(tmp_path):
    whole = stage_graph()["students"].values()
    for ablation in load_ablations().values():
        plain, dropped = load_recipe(ablation.recipe), set()
        for setting in ablation.settings:
            changes, file = ablation_overrides(ablation, setting, plain.variants), f"{ablation.recipe}.yaml"
            apply(changes, f"pipelines/recipes/{file}", tmp_path / file)
            meant = plain.model_dump()
            for key, value in (ablation.common | setting).items():
                *path, last = key.split(".")
                reduce(getitem, path, meant)[last] = value
            if set(ablation.variants) != set(plain.variants):
                meant["variants"] = ablation.variants
            assert load_recipe(ablation.recipe, tmp_path).model_dump() == meant
            dropped.add(tuple(change for change in changes if not change.startswith("pipelines/recipes/")))
        (changes,) = dropped  # the same for every setting
        apply(changes, "pipelines/graph.yaml", tmp_path / "graph.yaml")
        students = YAML(typ="safe", pure=True).load(tmp_path / "graph.yaml")["students"].values()
        assert {item["variant"] for item in students if item["recipe"] == ablation.recipe} == set(ablation.variants)
        others = [item for item in students if item["recipe"] != ablation.recipe]
        assert others == [item for item in whole if item["recipe"] != ablation.recipe]


def test_names_depend_on_the_changes_and_variants_alone(write):
    one = load_ablations(write("{student.gad_interval: [0.2, 0.6]}", common="{student.seeds: [0, 1]}"))["a"]
    other = load_ablations(write("{student.gad_interval: [0.2, 0.6]}"))["a"]
    more = one.model_copy(update={"variants": ["baseline", "gad", "equal_time"]})
    all_models = (one, one.model_copy(update={"title": "x"}), other, more)
    assert len({ablation_experiment_name("a", ablation, ablation.settings[0]) for ablation in all_models}) == 3


def test_a_variant_that_is_unknown_and_a_missing_baseline_are_refused(write):
    for variants, message in (("[baseline, gda]", "unknown variant gda"), ("[gad]", "baseline is missing")):
        with pytest.raises(RecipeError, match=message):
            load_ablations(write("{}", extra=f"  variants: {variants}"))


def test_what_dvc_says_of_experiments_and_queue_is_read():
    listing = "main:\n\t1a2b3c4 [weight-00112233]\n\tdeadbee [step-44556677]\n"
    assert ablate.read_recorded(listing) == {"weight-00112233": "1a2b3c4", "step-44556677": "deadbee"}
    status = (
        "Task     Name             Created       Status\n"
        "fcbc3a1  weight-00112233  09:33 PM      Running\n"
        "0b1b2c3  step-44556677    Nov 23, 2026  Queued\n"
        "7d7e7f7  window-8899aabb  09:30 PM      Failed\n\n"
        "Worker status: 1 active, 1 idle\n"
    )
    states = {"weight-00112233": "Running", "step-44556677": "Queued", "window-8899aabb": "Failed"}
    assert ablate.read_queue(status) == (states, 2)
    empty = "No experiment tasks in the queue.\n\nWorker status: 0 active, 0 idle\n"
    assert ablate.read_queue(empty) == ({}, 0)


NUMBER = {"mean": 0.5, "low": 0.4, "high": 0.6, "n": 3}


def metrics(**changes):
    """What an experiment records, as far as tables read it."""
    values = {"map_error_median": NUMBER, "jvp_cosine": NUMBER | changes, "gain_median": NUMBER}
    less = {"gad": {"jvp_cosine": NUMBER | {"mean": 0.2}}}
    values = {"baseline": values, "gad": values}
    control = {"over_seeds": {"teacher": {}, "gad": {"mode_coverage": NUMBER | {"mean": 0.55}}}}
    fidelity = {"fidelity": {"gad": {"object_accuracy": NUMBER | {"mean": 0.45}}}}
    sensitivity = {"isotropic": values, "isotropic_minus_baseline": less}
    return {"sensitivity": sensitivity, "fidelity": fidelity, "control": control}


def test_the_table_holds_what_was_recorded_and_skips_what_is_missing(write):
    ablation = load_ablations(write("{student.gad_weight: 0.1}\n    - {student.gad_weight: 0.2}"))["a"]
    rows = ablation_result_table(ablation, [None, metrics(mean=0.7)])
    assert rows["setting"].tolist() == ["gad_weight 0.2"] * 2 and rows["variant"].tolist() == ["baseline", "gad"]
    assert rows.loc[1, "JVP cosine mean"] == 0.7 and rows.loc[1, "median gain n"] == 3
    assert rows.loc[1, "mode coverage mean"] == 0.55 and pd.isna(rows.loc[0, "mode coverage mean"])
    assert rows.loc[1, "object accuracy mean"] == 0.45 and pd.isna(rows.loc[0, "object accuracy mean"])
    assert rows.loc[1, "JVP cosine, minus baseline mean"] == 0.2
    assert pd.isna(rows.loc[0, "JVP cosine, minus baseline mean"])
    shown = ablation_page_table(rows)
    assert shown.loc[1, "JVP cosine, minus baseline"] == "0.2 [0.4, 0.6]"
    assert shown.loc[1, "JVP cosine"] == "0.7 [0.4, 0.6]" and shown.loc[0, "mode coverage"] == ""


def test_a_whole_table_outlives_a_run_that_records_a_part_of_it(write, tmp_path, monkeypatch, capsys):
    ablation = load_ablations(write("{student.gad_weight: 0.1}\n    - {student.gad_weight: 0.2}"))["a"]
    names = [ablation_experiment_name("a", ablation, setting) for setting in ablation.settings]
    found = dict.fromkeys(names, "1a2b3c4")
    monkeypatch.setattr(ablate, "ROOT", tmp_path)
    monkeypatch.setattr(ablate, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(ablate, "recorded", lambda base: found)
    monkeypatch.setattr(ablate, "metrics_at", lambda revision, recipe: metrics() if revision else None)
    whole = ablate.tabulate("a", ablation, "base").read_text()
    del found[names[0]]
    assert ablate.tabulate("a", ablation, "base").read_text() == whole
    assert "stays as it is: 1 of 2 settings are not recorded yet" in capsys.readouterr().out
    found.clear()
    assert ablate.tabulate("b", ablation, "base") is None


def test_shares_are_told_once_every_setting_is_recorded(write, tmp_path, monkeypatch):
    ablation = load_ablations(write("{}\n    - {student.gad_weight: 0.2}"))["a"]
    names = [ablation_experiment_name("a", ablation, setting) for setting in ablation.settings]
    found, gains = {names[0]: "1a2b3c4"}, {"1a2b3c4": 0.2, "5d6e7f8": 0.1}

    def get(
        command, url, path, rev, revision, out, file, check
    ):  # each revision's students by seed, as DVC fetches them
        assert (command, path) == ("get", "data/smoke/sensitivity/table.csv")
        rows = [("baseline", seed, "isotropic", 0.5, 1.0) for seed in range(3)]
        rows += [("gad", seed, "isotropic", 0.5 + gains[revision], 1.0 - gains[revision]) for seed in range(3)]
        columns = ["variant", "seed", "directions", "jvp_cosine", "map_error_median"]
        pd.DataFrame(rows, columns=columns).to_csv(file, index=False)

    monkeypatch.setattr(ablate, "RESULTS", tmp_path)
    monkeypatch.setattr(ablate, "recorded", lambda base: found)
    monkeypatch.setattr(ablate, "dvc", get)
    ablate.write_retained("a", ablation, "base")
    assert recorded_retained_gain("a", tmp_path / "ablations") is None
    found[names[1]] = "5d6e7f8"
    ablate.write_retained("a", ablation, "base")
    shares = recorded_retained_gain("a", tmp_path / "ablations")
    assert shares["setting"].tolist() == ["gad_weight 0.2"]
    assert shares["JVP cosine, retained mean"][0] == pytest.approx(0.5)


def test_a_revision_is_read_without_its_line_end():
    assert not ablate.git("rev-parse", "HEAD").endswith("\n") and ablate.git("rev-parse", "nowhere") is None


def test_a_worker_that_a_command_leaves_behind_is_not_waited_for(monkeypatch, tmp_path):
    ended = tmp_path / "ended"
    command = ["sh", "-c", f"(sleep 30; touch {ended}) & echo $!"]
    monkeypatch.setattr(ablate, "dvc_cli_command", lambda *arguments: command)
    worker = int(ablate.dvc("queue", "start"))
    assert not ended.exists()
    os.kill(worker, signal.SIGTERM)


def test_tables_are_found_again_for_their_recipe_and_quick_ones_say_so(write, tmp_path):
    ablations = load_ablations(write("{student.gad_weight: 0.1}"))
    rows = ablation_result_table(ablations["a"], [metrics(low=None, high=None, n=1)])
    for name in ("a", "a" + QUICK):
        rows.to_csv(tmp_path / f"{name}.csv", index=False)
    found = recorded_ablation_tables("smoke", ablations, tmp_path)
    assert {name: title for name, (title, _) in found.items()} == {"a": "t", "a_quick": "t (shorter training)"}
    assert ablation_page_table(found["a"][1]).loc[1, "JVP cosine"] == "0.5 (n = 1)"
    assert recorded_ablation_tables("swiss_roll", ablations, tmp_path) == {}


def test_a_figure_has_a_panel_per_metric_and_one_for_the_paper(write):
    ablation = load_ablations(write("{student.gad_weight: 0.1}\n    - {student.gad_weight: 0.2}"))["a"]
    rows = ablation_result_table(ablation, [metrics(), metrics(mean=0.6)])
    for paper, panels in ((None, 5), (paper_ablation("window"), 6)):
        figure = ablation_marks(rows, title="t", paper=paper)
        assert len(figure.axes) == panels and all(axis.get_xlabel() for axis in figure.axes)
    assert paper_ablation("weight") is None
    assert paper_ablation("strategies").set_index("setting").loc["GAD", "Vendi"] == 2.7967


def test_an_unknown_ablation_is_one_line():
    command = [sys.executable, ROOT / "pipelines" / "ablate.py", "wieght"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "error: unknown ablation 'wieght'; there are: "
        "strategies, weight, step, schedule, window, random, anchor, cheap, directions, pairs, gradient_ratio_tdm, "
        "gradient_ratio_dmd2, gradient_ratio_ladd, gradient_ratio_sid, ladd_regression, "
        "ladd_regression_2d, controls_tdm, other_pair_tdm, thinning_tdm"
    )
