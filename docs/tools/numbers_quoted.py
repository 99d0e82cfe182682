"""Tables of results in pages, and the check that numbers in a page's prose are those of results/.

A page names a table as ``<!-- table NAME -->``; its lines are made when the site is built. It lists the numbers of its
prose in a comment, and the build fails where one is not what results/ holds::

    <!-- numbers
    0.059 [0.049, 0.068] = swiss_roll sensitivity two_level gad "jvp_cosine, isotropic"
    -->
"""

import json
import math
import re
import shlex
from functools import cache
from pathlib import Path

from gad.report.format import format_unbroken
from gad.report.markdown_tables import PAGES
from gad.runtime.paths import RESULTS, ROOT

SECTION = re.compile(r"<!-- section (\S+) (.+?) -->")
TABLE = re.compile(r"<!-- table (\w+) -->")
NUMBERS = re.compile(r"<!-- numbers\n(.*?)-->", re.S)


def with_tables(text: str) -> str:
    """A page's text with each named table's lines."""
    tables = {name: table for page in PAGES.values() for name, table in page.items()}

    def made(found: re.Match) -> str:
        if found[1] not in tables:
            raise ValueError(f"no table {found[1]!r}; there are: {', '.join(tables)}")
        return "\n".join(map(format_unbroken, tables[found[1]].lines()))

    return TABLE.sub(made, SECTION.sub(_section, text))


def _section(found: re.Match) -> str:
    """The lines below a heading of a page of the repository, with links as a page one folder down has them."""
    text = (ROOT / found[1]).read_text()
    _, head, rest = text.partition(f"\n## {found[2]}\n")
    if not head:
        raise ValueError(f"{found[1]} has no section {found[2]!r}")
    own = rest.partition("\n## ")[0].strip()
    own = own.replace("](docs/results/", "](")
    return re.sub(r"\]\(LOG\.md\)", "](../log.md)", own)


@cache
def _results(recipe: str) -> dict:
    return json.loads((Path(RESULTS) / f"{recipe}.json").read_text())["metrics"]


def _places(value: float) -> int:
    """Decimal places at which a number has two significant digits."""
    return max(1 - math.floor(math.log10(abs(value))), 0) if value else 1


def quoted(path: str) -> tuple[dict, str]:
    """The estimate at ``RECIPE STAGE GROUP VARIANT METRIC`` and how prose writes it."""
    recipe, *keys = shlex.split(path)
    found = _results(recipe)
    for key in keys:
        if key not in found:
            raise ValueError(f"results/{recipe}.json has no {key!r} in {path!r}; there are: {', '.join(found)}")
        found = found[key]
    mean, low, high = (found[key] for key in ("mean", "low", "high"))
    places = _places(mean)
    mean, low, high = (None if end is None else f"{end:.{places}f}" for end in (mean, low, high))
    return found, mean if low is None else f"{mean} [{low}, {high}]"


def check(text: str, page: str) -> None:
    """Raises ValueError with what a quoted number should be."""
    prose = " ".join(NUMBERS.sub("", text).replace("−", "-").split())
    for block in NUMBERS.findall(text):
        for line in filter(str.strip, block.splitlines()):
            number, path = (part.strip() for part in line.split("=", 1))
            right = quoted(path)[1]
            if number != right:
                raise ValueError(f"{path} is {right}, not {number}")
            if number not in prose:
                raise ValueError(f"{number} is listed and not in the text")


if __name__ == "__main__":
    import sys

    print(quoted(" ".join(f'"{word}"' for word in sys.argv[1:])))
