"""The page over all recipes."""

import re

import pytest

from gad.report import index
from gad.report.main_results import main_result_metrics
from gad.runtime.files import write_json


@pytest.fixture
def page(tmp_path, monkeypatch):
    """The index over one recipe, whose numbers are the committed ones."""
    facts = {"seeds": [0, 1], "versions": {"torch": "2"}, "section_hashes": {"student": "1a"}}
    summary = {
        "metrics": main_result_metrics("swiss_roll"),
        "provenance": facts,
        "figures": ["same_noises", "training"],
    }
    (tmp_path / "swiss_roll").mkdir()
    for name in ("report.html", ".report.partial.html"):
        (tmp_path / "swiss_roll" / name).write_text("")
    write_json(tmp_path / "swiss_roll" / "summary.json", summary)
    monkeypatch.setattr(index, "REPORTS", tmp_path)
    return index.write_index().read_text()


def test_a_recipe_begins_with_its_verdict_its_first_figure_and_one_table(page):
    before, folded = page.split("<details><summary>All main numbers and figures", maxsplit=1)
    order = [
        before.index(part) for part in ("<h2", "response to the noise", "same_noises.png", "<table", "gad − baseline")
    ]
    assert order == sorted(order) and before.count("<table") == 1
    assert "training.png" in folded and "Seeds and modes" in folded


def test_the_index_links_finished_pages_alone(page):
    assert re.findall(r'href="([^"#]+)"', page) == ["swiss_roll/report.html"]
