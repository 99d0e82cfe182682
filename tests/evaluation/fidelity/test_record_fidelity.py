"""The record of a recipe that measures no images."""

import pandas as pd
import pytest

from gad.evaluation.fidelity import record_fidelity as sections
from gad.models.stage import Stage
from gad.runtime import paths
from gad.runtime.files import read_json


@pytest.fixture
def stage(tmp_path, monkeypatch, smoke, point_teacher) -> Stage:
    monkeypatch.setattr(paths, "DATA", tmp_path)
    return Stage("fidelity", "smoke", smoke, point_teacher, [("baseline", 0, point_teacher)], [])


def test_sections_that_the_recipe_lacks_are_empty_and_recorded_as_nothing(stage):
    scored, distances = sections.record_fidelity_scores(stage)
    inversion, negative = sections.record_fidelity_inversion(stage), sections.record_fidelity_negative_prompts(stage)
    assert scored.empty and distances.empty and inversion.empty and negative.empty
    tables = {"scored": scored, "distances": distances, "inversion": inversion, "negative": negative}
    assert sections.record_fidelity(stage, **tables) == {"two_level": {}}
    assert read_json(paths.metrics_file("smoke", "fidelity")) == {"two_level": {}}
    assert pd.read_csv(stage.folder / "table.csv")["variant"].tolist() == ["teacher", "baseline"]  # the folder exists
