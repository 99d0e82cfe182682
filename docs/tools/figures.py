"""Makes the figures of docs/figures from results/ and from the exact Swiss roll.

python docs/tools/figures.py [NAME ...]

Each is an SVG for a light page and one for a dark page. The tutorial's train three small networks, half a minute each.
"""

import sys
from pathlib import Path

import figure_diagrams
import figure_results
import figure_trained
import figure_tutorial
import matplotlib.pyplot as plt
from figure_style import GRID, INK, THEMES

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "figures"
FIGURES = {
    name.removeprefix("draw_"): draw
    for module in (figure_results, figure_trained, figure_tutorial, figure_diagrams)
    for name, draw in vars(module).items()
    if name.startswith("draw_")
}


def save(name: str) -> None:
    """Both forms of a figure."""
    for mode, theme in THEMES.items():
        ink, grid = theme[INK], theme[GRID]
        colours = {
            "text.color": ink,
            "axes.labelcolor": ink,
            "axes.edgecolor": grid,
            "grid.color": grid,
            "xtick.color": ink,
            "ytick.color": ink,
            "xtick.labelcolor": ink,
            "ytick.labelcolor": ink,
            "figure.facecolor": "none",
            "axes.facecolor": "none",
            "savefig.facecolor": "none",
            "svg.hashsalt": name,
            "figure.constrained_layout.use": True,
            "font.size": 12,
            "grid.linewidth": 0.8,
            "axes.linewidth": 1,
        }
        with plt.rc_context(colours):
            figure = FIGURES[name](theme)
            path = FOLDER / f"{name.replace('_', '-')}-{mode}.svg"
            figure.savefig(path, format="svg", dpi=160, metadata={"Date": None})
            plt.close(figure)
        text = "\n".join(line.rstrip() for line in path.read_text().splitlines())
        path.write_text(text + "\n")
        print(path.relative_to(ROOT))


def main(names: list[str]) -> None:
    for name in names or FIGURES:
        save(name)


if __name__ == "__main__":
    main(sys.argv[1:])
