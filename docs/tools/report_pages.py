"""Executed reports as pages of the site, each with a way back, and the page that lists them."""

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REPORTS = ROOT / "reports"
STAGES = ("report", "sensitivity", "fidelity", "control", "student", "noise_pairs", "teacher")
BAR = """<nav class="gad-site" aria-label="Site">
<style>
.gad-site { font: 15px/1.4 system-ui, sans-serif; padding: .6rem 1rem; background: #4051b5; overflow-x: auto; }
.gad-site a, .gad-site a:visited { color: #fff; margin-right: 1.2rem; text-decoration: none; white-space: nowrap; }
.gad-site a:hover { text-decoration: underline; }
</style>
<a href="../../index.html"><b>gad</b></a><a href="../../results/index.html">Results</a>
<a href="../index.html">Reports</a>PAGES</nav>"""
HEAD = """# Reports

Each report is an executed notebook: figures inside, code cells included, no network needed.
A report of one seed is an example and no result.
"""
NONE = """There is none in this copy of the site.
`make repro` makes two in fifteen minutes, and `make docs` then puts them here.
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
        bar = BAR.replace("PAGES", names)
        for page in pages:
            before, body, after = re.split(r"(<body[^>]*>)", page.read_text(), maxsplit=1)
            yield before + body + bar + after, _place(page)
        for name in _figures(folder):
            yield (folder / "figures" / name).read_bytes(), _place(folder / "figures" / name)


def _place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _figures(folder: Path) -> list[str]:
    found = [path.name for path in sorted((folder / "figures").glob("*.png"))]
    return sorted((name for name in found if name == "same_noises.png"), key=found.index) or found[:1]


def reports_page() -> str:
    """The list of reports: of each its seeds, its pages and its first figure."""
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
    facts = json.loads(path.read_text())["provenance"]
    seeds = facts.get("seeds", [])
    kind = "one seed: an example, no result" if len(seeds) == 1 else f"{len(seeds)} seeds"
    return f"{kind}; {facts.get('device', '')}; {str(facts.get('when', ''))[:10]}"
