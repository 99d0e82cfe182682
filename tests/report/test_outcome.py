"""The line with which a stage's page begins."""

import json

import pytest

from gad.report.outcome import stage_outcome
from gad.runtime.paths import DATA, ROOT

STAGES = ("teacher", "noise_pairs", "student-gad", "sensitivity", "fidelity", "control")


@pytest.mark.parametrize("recipe", ["swiss_roll", "emoji_flow"])
@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_of_a_committed_recipe_has_an_outcome_of_one_line(recipe, stage):
    said = stage_outcome(recipe, stage)
    assert said.startswith("**Outcome:** ") and "\n" not in said and said.rstrip("*").endswith(".")


def test_an_outcome_holds_the_numbers_of_the_metrics_file():
    made = json.loads((DATA / "swiss_roll" / "metrics" / "student-gad.json").read_text())
    said = stage_outcome("swiss_roll", "student-gad")
    assert f"gad, {len(made['seeds'])} seeds trained for {made['final']['step']:.0f} steps" in said
    assert "2000 points" in stage_outcome("swiss_roll", "teacher")
    assert "object accuracy of 512 scenes" in stage_outcome("emoji", "dataset")


@pytest.mark.parametrize("notebook", sorted((ROOT / "notebooks").glob("0[0-7]_*.ipynb")), ids=lambda path: path.stem)
def test_every_stage_ends_or_begins_with_a_cell_that_makes_its_outcome(notebook):
    cells = json.loads(notebook.read_text())["cells"]
    tagged = [cell for cell in cells if "outcome" in cell["metadata"].get("tags", [])]
    assert len(tagged) == (notebook.stem != "00_swiss_roll")  # which is no stage
    assert all("".join(cell["source"]).startswith("Markdown(") for cell in tagged)
