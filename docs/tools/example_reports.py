"""Makes docs/examples/<recipe>.html, the reports that are committed, from those of a run.

python docs/tools/example_reports.py [RECIPE ...]

By default of swiss_roll and compact_quick, after `make repro`. A report with a path of this machine, or larger than
2 MB, is refused.
"""

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"
LIMIT = 2_000_000  # bytes
ABSOLUTE = re.compile(r"(?<![\w./:<])/[A-Za-z][\w.-]*/[\w./-]+")


def faults_of(page: str) -> list[str]:
    """What keeps a page from being committed, a line each."""
    text = re.sub(r"data:image/[^\"']+", "", page)
    faults = [f"names the path {path}" for path in sorted(set(ABSOLUTE.findall(text)))]
    return faults + [f"has {len(page.encode())} bytes, more than {LIMIT}"] * (len(page.encode()) > LIMIT)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", default=["swiss_roll", "compact_quick"])
    EXAMPLES.mkdir(exist_ok=True)
    for recipe in parser.parse_args().recipes:
        page = (ROOT / "reports" / recipe / "report.html").read_text(encoding="utf-8")
        faults = faults_of(page)
        if faults:
            print(f"error: reports/{recipe}/report.html {faults[0]}", file=sys.stderr)
            return 1
        path = EXAMPLES / f"{recipe}.html"
        path.write_text(page, encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1000} KB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
