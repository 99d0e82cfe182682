"""How pages look: executed notebooks and the index over them. All of it lies in the page."""

from functools import cache

BODY = """
:root { color-scheme: light }
body { font: 16px/1.55 system-ui, "Liberation Sans", Arial, sans-serif; color: #222; background: #fff; margin: 0 }
h1, h2, h3 { line-height: 1.25 }
h2 { margin-top: 2.4rem; border-top: 1px solid #ccc; padding-top: 1rem }
img { max-width: 100%; height: auto; display: block; margin: .8rem 0 }
table { border: 0; border-collapse: collapse; font-size: 14px; margin: .6rem 0 1.2rem }
table { font-variant-numeric: tabular-nums }
th, td { border: 0; border-bottom: 1px solid #ddd; padding: .25rem .8rem; text-align: left; vertical-align: top }
thead th { background: #f3f4f6; vertical-align: bottom }
summary { cursor: pointer }
"""
NOTEBOOK = """
main { max-width: 70rem; margin: 0 auto; padding: .5rem 1.5rem 4rem }
.jp-RenderedHTMLCommon, .jp-RenderedText { overflow-x: auto }
.title { color: #595959; font-size: 14px; margin: 1rem 0 -.6rem }
.jp-RenderedHTML :is(th, td):first-child { position: sticky; left: 0; background: #fff }
.jp-RenderedHTML thead th:first-child { background: #f3f4f6 }
caption { text-align: left; color: #555; padding-bottom: .3rem; max-width: 66rem }
h1 + blockquote { margin: 1rem 0; padding: .7rem 1.2rem; border-left: 5px solid #2166ac; background: #f3f6fb }
h1 + blockquote p, h1 + blockquote ul { margin: .35rem 0 }
.anchor-link { color: #767676; text-decoration: none; margin-left: .4rem; opacity: 0 }
:hover > .anchor-link, .anchor-link:focus { opacity: 1 }
pre { font: 13px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; margin: .4rem 0 }
.jp-RenderedText[data-mime-type="application/vnd.jupyter.stderr"] { color: #666 }
.gad-code > summary { font-size: 13px; color: #595959; width: max-content }
.gad-code .highlight { background: #f7f7f7; border-left: 3px solid #ccc; padding: .3rem .9rem; overflow-x: auto }
@media print { .gad-code { display: none } }
"""
INDEX = """
body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
table { display: block; overflow-x: auto }
nav a { margin-right: 1rem } .note { color: #555; font-size: 14px }
"""


@cache
def notebook_page_style() -> str:
    """The style sheet of an executed notebook's page, with the colours of its code."""
    from pygments.formatters import HtmlFormatter  # here, since a stage that fails needs none

    return BODY + NOTEBOOK + str(HtmlFormatter(style="default").get_style_defs(".highlight"))
