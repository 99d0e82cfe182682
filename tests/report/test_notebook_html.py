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
