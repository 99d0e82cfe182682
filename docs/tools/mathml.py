"""Equations as MathML, so that pages need no script for them."""

import html
import json
import re
from pathlib import Path

from latex2mathml.converter import convert

MARKED = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.S)
BLOCK, INLINE = re.compile(r"\$\$(.+?)\$\$", re.S), re.compile(r"(?<![\\$`\w])\$(?!\s)([^$\n]+?)(?<!\s)\$(?!\w)")


def with_mathml(page: str) -> str:
    """A page's HTML with what arithmatex has marked as LaTeX turned into MathML."""

    def turned(found: re.Match) -> str:
        return convert(html.unescape(found[3]).strip(), display="block" if found[2] == "[" else "inline")

    return MARKED.sub(turned, page)


def notebook_with_mathml(path: Path) -> str:
    """A notebook, as JSON, with the equations of its Markdown cells as MathML."""
    notebook = json.loads(path.read_text())
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            text = "".join(cell["source"])
            text = BLOCK.sub(lambda found: f"\n<div>{_one_line(found[1], 'block')}</div>\n", text)
            cell["source"] = INLINE.sub(lambda found: _one_line(found[1], "inline"), text)
    return json.dumps(notebook)


def _one_line(latex: str, display: str) -> str:
    """MathML that Markdown leaves alone: one line, without characters that mean something to it."""
    made = " ".join(convert(latex.replace(r"\|", r"\Vert "), display=display).split())
    return made.replace("_", "&#95;").replace("*", "&#42;").replace("|", "&#124;").replace("\\", "&#92;")
