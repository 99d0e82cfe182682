"""Makes .dvc/plots.html, the page that ``dvc plots show`` fills: it loads nothing from a network.

npm pack vega@5.20.2 vega-lite@5.2.0 vega-embed@6.18.2       (as dvc-render names them; BSD-3-Clause)
python docs/tools/plots_page.py FOLDER                       the folder of the three archives
"""

import argparse
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("vega", "vega-lite", "vega-embed")
HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{refresh_tag}
<title>gad: plots</title>
<style>
body { margin: 1.5rem; background: #fff; color: #1f1f29; color-scheme: light; font-family: sans-serif; }
body > div { max-width: 100%; overflow-x: auto; }
img { max-width: 100%; }
table { border-collapse: collapse; }
th, td { padding: .2rem .8rem; text-align: left; }
</style>
"""
EMBED = """<script>
const embed = vegaEmbed;
vegaEmbed = (place, plot) => {  // a plot without data yet takes no room
    if (!Object.keys(plot).length) return document.querySelector(place).remove();
    return embed(place, plot, {config: {legend: {labelLimit: 400}}});
};
</script>
"""
BODY = """</head>
<body>
{plot_divs}
</body>
</html>
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    page = ROOT / ".dvc" / "plots.html"
    page.write_text(HEAD + "".join(_script(folder, name) for name in PACKAGES) + EMBED + BODY, encoding="utf-8")
    print(f"{page}: {page.stat().st_size // 1000} KB")


def _script(folder: Path, name: str) -> str:
    """The package's licence and library."""
    (archive,) = folder.glob(f"{name}-[0-9]*.tgz")
    with tarfile.open(archive) as files:
        licence, library = (
            files.extractfile(f"package/{part}").read().decode() for part in ("LICENSE", f"build/{name}.min.js")
        )
    library = library.partition("\n//# sourceMappingURL")[0]
    return f"<!-- {archive.stem}\n{licence.strip()}\n-->\n<script>\n{library}\n</script>\n"


if __name__ == "__main__":
    main()
