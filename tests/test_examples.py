"""The reports that are committed, to be read before anything is run."""

import re

import pytest
from scripts import load_script

from gad.runtime.files import read_json
from gad.runtime.paths import ROOT

EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.html"))
example_reports = load_script("docs/tools/example_reports.py")


def test_there_is_one_of_two_dimensions_and_one_of_images():
    assert [path.stem for path in EXAMPLES] == ["compact_quick", "swiss_roll"]


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_names_no_path_of_a_machine_and_is_small(page):
    assert example_reports.faults_of(page.read_text()) == []


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_begins_with_a_verdict_then_a_figure_then_a_table(page):
    text = page.read_text()
    order = [text.index(part) for part in ("<h1", "<blockquote>", "<img", "gad − baseline", "<h2")]
    assert order == sorted(order) and text.count("</math>") == text.count("<math ")
    assert not re.findall(r"""(?:src|href)=["']https?://[^"']*\.(?:js|css|png)""", text)


@pytest.mark.parametrize(
    ("recipe", "directions"), [("swiss_roll", "isotropic"), ("compact_quick", "isotropic, h = 0.5")]
)
def test_an_example_quotes_the_committed_numbers(recipe, directions):
    text = next(path for path in EXAMPLES if path.stem == recipe).read_text()
    metrics = read_json(ROOT / "data" / recipe / "metrics" / "sensitivity.json")
    change = metrics["two_level"]["gad"][f"jvp_cosine, {directions}"]
    interval = f"{change['mean']:.2g} [{change['low']:.2g}, {change['high']:.2g}]"
    assert f" by {interval}, " in text and f"n = {change['n']} seeds" in text


@pytest.mark.parametrize("path", ["/home/me/gad/a.py", "/tmp/x-1", "/Users/me/b"])
def test_a_page_with_a_path_of_a_machine_is_refused(path):
    assert example_reports.faults_of(f"<p>in {path}</p>") == [f"names the path {path}"]
    assert example_reports.faults_of("<p>data/swiss_roll/student of 3/4</p>") == []


def test_a_large_page_is_refused():
    (fault,) = example_reports.faults_of("a" * 2_000_001)
    assert "more than 2000000" in fault
