"""README.md and RESULTS.md say what the results say, and what README names and shows is there."""

import json
import re

import pytest

from gad.report.format import format_difference
from gad.report.markdown_tables import PAGES, Metric, with_markdown_tables
from gad.runtime.paths import ROOT


@pytest.mark.parametrize("page", PAGES)
def test_the_tables_of_a_page_are_those_of_the_results(page):
    text = (ROOT / page).read_text()
    assert with_markdown_tables(text, page) == text, "run: python -m gad.report.markdown_tables"


README = (ROOT / "README.md").read_text()


def test_the_front_page_is_short():
    assert len(README.splitlines()) <= 150


def test_the_numbers_in_the_prose_of_the_front_page_are_those_of_the_results(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs" / "tools")
    import numbers_quoted

    assert numbers_quoted.NUMBERS.search(README)
    numbers_quoted.check(README, "README.md")


def test_what_the_front_page_links_to_and_shows_is_there():
    targets = re.findall(r"\]\(([^)#]+)(?:#\w+)?\)|(?:src|srcset)=\"([^\"]+)\"", README)
    paths = {path for path in map("".join, targets) if not path.startswith("https:")}
    assert len(paths) > 20 and not [path for path in paths if not (ROOT / path).exists()]


def test_the_fifteen_lines_of_the_front_page_give_equal_derivatives(capsys):
    (lines,) = re.findall(r"```python\n(.*?)```", README, re.S)
    assert sum(map(bool, lines.splitlines())) == 14
    exec(lines, {})
    cosines = [float(number) for number in re.findall(r"\d\.\d+", capsys.readouterr().out)]
    assert len(cosines) == 8 and min(cosines) > 0.999


def test_the_page_of_files_names_files_that_are_there():
    named = set(re.findall(r"[\w]+\.py", (ROOT / "docs" / "reference" / "files.md").read_text()))
    folders = ("src", "pipelines", "benchmarks")
    there = {path.name for folder in folders for path in (ROOT / folder).rglob("*.py")} | {"setup.py"}
    assert len(named) > 80 and not named - there


def test_the_front_page_tells_what_the_kills_showed():
    found = json.loads((ROOT / "results" / "kills.json").read_text())["stages"]["all"]
    told = " ".join((ROOT / "README.md").read_text().split())
    assert f"**{found['kills']} kills**" in told and f"under {found['median_work_lost_s']:.1f} s" in told
    assert f"**{found['lost_runs']} runs were lost and {found['differing']} files differed**" in told


def test_a_table_without_its_mark_is_missed():
    text = (ROOT / "RESULTS.md").read_text().replace("<!-- table emoji -->", "")
    with pytest.raises(ValueError, match="RESULTS.md should have the mark <!-- table emoji --> once, not 0 times"):
        with_markdown_tables(text, "RESULTS.md")


def test_a_difference_is_that_for_other_seeds_and_samples_where_there_is_one():
    alone, both = ({"mean": mean, "low": mean - 0.05, "high": mean + 0.05} for mean in (0.1, 0.2))
    metrics = {
        "sensitivity": {
            "isotropic_minus_baseline": {"gad": {"jvp_cosine": alone, "jvp_mse": alone}},
            "seeds_minus_baseline": {"gad": {"teacher_trained_seed_accuracy": alone}},
            "two_level": {"gad": {"jvp_cosine, isotropic": both, "teacher_trained_seed_accuracy, by prompt": both}},
        },
        "control": {"minus_baseline": {"gad": {"object_accuracy": alone}}},
    }
    cosine, error = (Metric("", "sensitivity", "isotropic", name) for name in ("jvp_cosine", "jvp_mse"))
    noun = Metric("", "control", "over_seeds", "object_accuracy")
    told = Metric("", "sensitivity", "seeds", "teacher_trained_seed_accuracy")  # paired by prompt, not by noise
    assert cosine.difference(metrics, "gad") == told.difference(metrics, "gad") == (both, True)
    assert error.difference(metrics, "gad") == noun.difference(metrics, "gad") == (alone, False)
    assert noun.difference(metrics, "gad_anchor") == (None, False)


def test_only_a_difference_for_other_samples_too_is_bold_and_only_without_0():
    clear, open_ = {"mean": 0.1, "low": 0.05, "high": 0.15}, {"mean": 0.1, "low": -0.05, "high": 0.25}
    assert format_difference(clear, True) == "**0.1 [0.05, 0.15]**"
    assert (
        format_difference(open_, True) == "0.1 [-0.05, 0.25]"
        and format_difference(clear, False) == "0.1 [0.05, 0.15] †"
    )
    assert (
        format_difference({"mean": 0.1, "low": None, "high": None}, True) == "0.1"
        and format_difference(None, False) == ""
    )
