"""Pages can be read without a network."""

import re
from pathlib import Path

import nbformat
import pytest
from latex2mathml.converter import convert

from gad.report.notebook_html import notebook_page_html

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def equations(notebook: Path) -> list[str]:
    cells = [cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "markdown"]
    return [a or b for a, b in re.findall(r"\$\$(.+?)\$\$|\$([^$]+)\$", "\n".join(cells), re.DOTALL)]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_equation_of_a_notebook_is_drawn_by_the_browser(notebook):
    page = notebook_page_html(notebook)
    assert page.count("<math ") == len(equations(notebook))
    assert not [text for text in equations(notebook) if "\\" in re.sub("<[^>]*>", "", convert(text))]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_page_loads_nothing_from_the_network(notebook):
    assert re.findall(r"""(?:src=|import |href=)["']?https?://[^ ]*\.m?js""", notebook_page_html(notebook)) == []


def test_text_around_an_equation_stays_markdown(tmp_path):
    cell = nbformat.v4.new_markdown_cell("The *gain* is $x_1 < 2$ at **one** point; it costs \\$5.")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "a.ipynb")
    page = notebook_page_html(tmp_path / "a.ipynb")
    assert "<em>gain</em>" in page and "<strong>one</strong>" in page and page.count("<math ") == 1


def test_a_progress_bar_is_shown_in_its_last_state_alone(tmp_path):
    def stream(name: str, text: str):
        return nbformat.v4.new_output("stream", name=name, text=text)

    outputs = [stream("stderr", "\rtasks: 10%"), stream("stderr", "\rtasks: 60%"), stream("stderr", "\rtasks: 99%\n")]
    outputs += [stream("stdout", "done\n"), stream("stderr", "a line\r\nanother\n")]
    cell = nbformat.v4.new_code_cell("work()", outputs=outputs)
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "a.ipynb")
    page = notebook_page_html(tmp_path / "a.ipynb")
    assert "tasks: 99%" in page and "tasks: 60%" not in page and "tasks: 10%" not in page
    assert "done" in page and "a line" in page and "another" in page


def page_of(cells: list, folder: Path, **names) -> str:
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "a.ipynb")
    return notebook_page_html(folder / "a.ipynb", **names)


def shown(text: str, kind: str = "text/markdown"):
    return nbformat.v4.new_output("display_data", data={kind: text})


def test_the_outcome_stands_below_the_title_and_not_where_it_was_made(tmp_path):
    cells = [
        nbformat.v4.new_markdown_cell("# Title\n\nIntroduction."),
        nbformat.v4.new_code_cell("early()", outputs=[shown("an early output")]),
        nbformat.v4.new_code_cell(
            "say()", outputs=[shown("**Higher** by .1.\n\n- a point")], metadata={"tags": ["outcome"]}
        ),
    ]
    page = page_of(cells, tmp_path)
    order = [page.index(part) for part in ("Title", "Higher", "a point", "Introduction", "an early output", "say")]
    assert order == sorted(order) and page.count("Higher") == 1
    assert re.search(r"</h1>\s*<blockquote>", page) and "<li>a point" in page


def test_code_is_folded_and_can_be_opened(tmp_path):
    page = page_of([nbformat.v4.new_code_cell("x = 1", outputs=[shown("seen")])], tmp_path)
    folded = re.search("<details class=.gad-code.><summary>Code</summary>.*?</details>", page, re.DOTALL)
    assert folded and "highlight" in folded[0] and "seen" not in folded[0]
    assert "<details open" not in page and "In&nbsp;[" not in page


def test_a_page_shows_the_parameters_that_it_ran_with_and_not_their_defaults(tmp_path):
    default = nbformat.v4.new_code_cell('recipe = "smoke"', metadata={"tags": ["parameters"]})
    injected = nbformat.v4.new_code_cell('recipe = "swiss_roll"', metadata={"tags": ["injected-parameters"]})
    assert "smoke" in page_of([default], tmp_path)
    page = page_of([default, injected], tmp_path)
    assert "swiss_roll" in page and "smoke" not in page


def test_a_page_has_its_own_title_and_is_small_without_outputs(tmp_path):
    page = page_of([nbformat.v4.new_markdown_cell("# A")], tmp_path, title="swiss_roll: report")
    assert "<title>swiss_roll: report</title>" in page and len(page) < 20_000


def test_wide_tables_scroll_inside_the_page(tmp_path):
    """Every output that holds a table lies in a box that scrolls."""
    wide = shown("<table><tr>" + "<td>number</td>" * 60 + "</tr></table>", "text/html")
    page = page_of([nbformat.v4.new_code_cell("table", outputs=[wide])], tmp_path)
    assert re.search(r'class="jp-RenderedHTMLCommon[^"]*"[^>]*>\s*<table>', page)
    assert ".jp-RenderedHTMLCommon, .jp-RenderedText { overflow-x: auto }" in page
