"""Executed notebooks as pages that need no network: images inside, equations as MathML."""

from pathlib import Path

import jinja2
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

TEMPLATE = """
{%- extends 'index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
"""


class MathRenderer(IPythonRenderer):
    """nbconvert's renderer, with MathML that the browser draws itself in place of source for a script."""

    def block_math(self, body: str) -> str:
        return convert(body, display="block")

    def inline_math(self, body: str) -> str:
        return convert(body)


@jinja2.pass_context
def render_markdown(context: jinja2.runtime.Context, source: str) -> str:
    """HTML of a markdown cell."""
    attachments = context.get("cell", {}).get("attachments", {})
    return MarkdownWithMath(renderer=MathRenderer(escape=False, attachments=attachments)).render(source)


def page_of(notebook: Path) -> str:
    """An executed notebook as one self-contained HTML page."""
    exporter = HTMLExporter(embed_images=True, raw_template=TEMPLATE, filters={"markdown2html": render_markdown})
    html, _ = exporter.from_filename(str(notebook))
    return html
