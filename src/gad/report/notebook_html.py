"""Executed notebooks as pages that need no network: outcome first, code folded, images inside, equations as MathML."""

import re
from pathlib import Path

import jinja2
import nbformat
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode

from gad.report.page_style import notebook_page_style

TEMPLATE = """
{%- extends 'base.html.j2' -%}
{%- block header -%}
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ resources.metadata.name | escape_html }}</title>
<style>{{ resources.page_style }}</style>
</head>
{%- endblock -%}
{%- block body_header -%}<body><main><p class="title">{{ resources.metadata.name | escape_html }}</p>{%- endblock -%}
{%- block body_footer -%}</main></body>{%- endblock -%}
{%- block input_group -%}<details class="gad-code"><summary>Code</summary>{{ super() }}</details>{%- endblock -%}
{%- block footer -%}{{ super() }}</html>{%- endblock -%}
"""
OUTCOME = "outcome"  # tag of the cell whose output, in Markdown, a page shows below its title
PARAMETERS, INJECTED = "parameters", "injected-parameters"  # papermill's tags: defaults, and what a stage ran with


class MathRenderer(IPythonRenderer):
    """nbconvert's renderer, with MathML that the browser draws itself instead of source for a script."""

    def block_math(self, body: str) -> str:
        return convert(body, display="block")

    def inline_math(self, body: str) -> str:
        return convert(body)


def markdown_html(source: str, attachments: dict | None = None) -> str:
    """HTML of Markdown, its equations as MathML."""
    return MarkdownWithMath(renderer=MathRenderer(escape=False, attachments=attachments or {})).render(source)


@jinja2.pass_context
def _render_markdown(context: jinja2.runtime.Context, source: str) -> str:
    """HTML of a markdown cell."""
    return markdown_html(source, context.get("cell", {}).get("attachments", {}))


def _as_a_terminal_shows(outputs: list) -> list:
    """A cell's outputs with each run of text in one piece, and of every line what stands there at last.

    A progress bar writes each of its states over the one before, behind a carriage return.
    """
    shown: list[NotebookNode] = []
    for output in outputs:
        if shown and output.output_type == "stream" and shown[-1].get("name") == output.name:
            shown[-1].text += output.text
        else:
            shown.append(output)
    for output in shown:
        if output.output_type == "stream":
            output.text = re.sub(r"[^\r\n]*\r+(?=[^\r\n])", "", output.text)
    return shown


def _outcome_first(cells: list) -> list:
    """The cells with the output of the one tagged ``outcome`` as a quotation below the title."""
    for cell in cells:
        if OUTCOME not in cell.metadata.get("tags", []):
            continue
        said = [output for output in cell.outputs if "text/markdown" in output.get("data", {})]
        title, _, rest = cells[0].source.partition("\n")
        quoted = [f"> {line}".rstrip() for output in said for line in output.data["text/markdown"].splitlines()]
        cells[0].source = "\n".join([title, "", *quoted, "", rest])
        cell.outputs = [output for output in cell.outputs if output not in said]
    return cells


def _as_run(cells: list) -> list:
    """The cells without the parameters' defaults where a stage has set its own."""
    tags = [cell.metadata.get("tags", []) for cell in cells]
    injected = any(INJECTED in own for own in tags)
    return [cell for cell, own in zip(cells, tags, strict=True) if not (injected and PARAMETERS in own)]


def _in_one_piece(cells: list) -> list:
    """The cells with code that shows nothing joined to the code that follows, so that one click opens both."""
    joined: list[NotebookNode] = []
    for cell in cells:
        if cell.cell_type == "code" and joined and joined[-1].get("outputs") == []:
            cell.source = f"{joined.pop().source}\n\n{cell.source}"
        joined.append(cell)
    return joined


def notebook_page_html(notebook: Path, title: str = "") -> str:
    """An executed notebook as one self-contained HTML page: its outcome first, its code folded.

    ``title`` stands above all and is the browser's; the notebook's name unless given.
    """
    exporter = HTMLExporter(
        embed_images=True,
        raw_template=TEMPLATE,
        filters={"markdown2html": _render_markdown},
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    node = nbformat.read(notebook, as_version=4)
    for cell in node.cells:
        if cell.cell_type == "code":
            cell.outputs = _as_a_terminal_shows(cell.outputs)
    node.cells = _in_one_piece(_outcome_first(_as_run(node.cells)))
    name = {"name": title or notebook.stem, "path": str(notebook.parent)}
    html, _ = exporter.from_notebook_node(node, {"metadata": name, "page_style": notebook_page_style()})
    return html
