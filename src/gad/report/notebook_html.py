"""Executed notebooks as pages that need no network: images inside, equations as MathML."""

import re
from pathlib import Path

import jinja2
import nbformat
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode

TEMPLATE = """
{%- extends 'index.html.j2' -%}
{%- block html_head_css -%}
<style>.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.stderr"] { background: none; color: #666 }</style>
{%- endblock -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
"""


class MathRenderer(IPythonRenderer):
    """nbconvert's renderer, with MathML that the browser draws itself instead of source for a script."""

    def block_math(self, body: str) -> str:
        return convert(body, display="block")

    def inline_math(self, body: str) -> str:
        return convert(body)


@jinja2.pass_context
def _render_markdown(context: jinja2.runtime.Context, source: str) -> str:
    """HTML of a markdown cell."""
    attachments = context.get("cell", {}).get("attachments", {})
    return MarkdownWithMath(renderer=MathRenderer(escape=False, attachments=attachments)).render(source)


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


def notebook_page_html(notebook: Path) -> str:
    """An executed notebook as one self-contained HTML page."""
    exporter = HTMLExporter(embed_images=True, raw_template=TEMPLATE, filters={"markdown2html": _render_markdown})
    node = nbformat.read(notebook, as_version=4)
    for cell in node.cells:
        if cell.cell_type == "code":
            cell.outputs = _as_a_terminal_shows(cell.outputs)
    html, _ = exporter.from_notebook_node(node, {"metadata": {"name": notebook.stem, "path": str(notebook.parent)}})
    return html
