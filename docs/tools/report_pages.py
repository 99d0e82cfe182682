"""Executed reports as pages of the site, each with a way back, and the page that lists them."""

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REPORTS, EXAMPLES = ROOT / "reports", ROOT / "docs" / "examples"
STAGES = ("report", "sensitivity", "fidelity", "control", "student", "noise_pairs", "teacher")
BAR = """<nav class="gad-site" aria-label="Site">
<style>
.gad-site { font: 15px/1.4 system-ui, sans-serif; padding: .6rem 1rem; background: #4051b5; overflow-x: auto; }
.gad-site a, .gad-site a:visited { color: #fff; margin-right: 1.2rem; text-decoration: none; white-space: nowrap; }
.gad-site a:hover { text-decoration: underline; }
</style>
<a href="ROOT/index.html"><b>gad</b></a><a href="ROOT/results/index.html">Results</a>
<a href="ROOT/reports/index.html">Reports</a>PAGES</nav>"""
HEAD = """# Reports

Each report is an executed notebook: a verdict in words, figures inside, code folded, no network needed.
A report of one seed is an example and no result.

Two are part of the project: [Swiss roll](../examples/swiss_roll.html) and
[emoji scenes](../examples/compact_quick.html), the latter of two seeds and short trainings.
"""
NONE = """There is no other in this copy of the site.
`make repro` makes both anew with a page a stage, in fifteen minutes, and `make docs` then puts them here.
"""


def _recipes() -> list[Path]:
    return sorted(path.parent for path in REPORTS.glob("*/report.html"))


def _pages(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("*.html") if not path.name.startswith(".")]

    def place(path: Path) -> tuple[int, str]:
        return next((n for n, stage in enumerate(STAGES) if path.stem.startswith(stage)), len(STAGES)), path.stem

    return sorted(found, key=place)


def report_files() -> Iterator[tuple[str | bytes, str]]:
    """Content and place in the site of each page of a report and of the figures that the list shows."""
    for folder in _recipes():
        pages = _pages(folder)
        names = "".join(f'<a href="{page.name}">{html.escape(page.stem)}</a>' for page in pages)
        for page in pages:
            yield _with_bar(page, names, root="../.."), _place(page)
        for name in _figures(folder):
            yield (folder / "figures" / name).read_bytes(), _place(folder / "figures" / name)

    for page in sorted(EXAMPLES.glob("*.html")):
        yield _with_bar(page, root=".."), f"examples/{page.name}"


def _with_bar(page: Path, names: str = "", *, root: str) -> str:
    """A page with the way back above it; ``root`` is the site's as seen from there."""
    before, body, after = re.split(r"(<body[^>]*>)", page.read_text(), maxsplit=1)
    return before + body + BAR.replace("PAGES", names).replace("ROOT", root) + after


def _place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _figures(folder: Path) -> list[str]:
    found = [path.name for path in sorted((folder / "figures").glob("*.png"))]
    return sorted((name for name in found if name == "same_noises.png"), key=found.index) or found[:1]


def reports_page() -> str:
    """The list of reports: of each its verdict, its seeds, its pages and its first figure."""
    lines = [HEAD]
    for folder in _recipes():
        pages = " · ".join(f"[{page.stem}]({folder.name}/{page.name})" for page in _pages(folder))
        lines += [f"## {folder.name}", "", _facts(folder), "", pages, ""]
        lines += [
            f"![The same noises, every model: {folder.name}]({folder.name}/figures/{name})" for name in _figures(folder)
        ] + [""]
    return "\n".join(lines if len(lines) > 1 else [HEAD, NONE])


def _facts(folder: Path) -> str:
    path = folder / "summary.json"
    if not path.exists():
        return ""
    summary = json.loads(path.read_text())
    facts, seeds = summary["provenance"], len(summary["provenance"].get("seeds", []))
    made = f"{seeds} seed{'s' * (seeds != 1)}; {facts.get('device', '')}; {str(facts.get('when', ''))[:10]}"
    return "\n\n".join(filter(None, [summary.get("verdict", ""), made]))
