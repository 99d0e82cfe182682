"""Colours, names and numbers that the figures of docs/figures share."""

import json
import sys
from functools import cache
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib.colors import LinearSegmentedColormap

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "src"))

from gad.report.figures.style import PALETTE
from gad.runtime.paths import RESULTS

INK, PAPER, GRID, FILL = "ink", "paper", "grid", "fill"
THEMES = {
    "light": {INK: "#1f2328", PAPER: "#ffffff", GRID: "#d0d7de", FILL: "#eef1f8", "teacher": "#222222"},
    "dark": {INK: "#e3e7ee", PAPER: "#1e2129", GRID: "#444b57", FILL: "#2b3140", "teacher": "#f2f2f2"},
}
SHORT = {
    "swiss_roll": "2-D, output matching",
    "swiss_roll_ladd": "2-D, LADD",
    "swiss_roll_dmd2": "2-D, DMD2",
    "swiss_roll_sid": "2-D, SiD",
    "compact_ladd": "images, LADD, trained",
    "compact_tdm": "images, TDM, trained",
    "compact_dmd2": "images, DMD2, trained",
    "compact_sid": "images, SiD, trained",
    "emoji_flow": "images, matching, flow DiT",
    "emoji_unet": "images, matching, UNet",
    "emoji_dit": "images, matching, DiT",
    "emoji_unet_ladd": "images, LADD, UNet",
    "emoji_dit_tdm": "images, TDM, DiT",
    "emoji_flow_sid": "images, SiD, flow DiT",
}
LIFTED = {"#2166ac": "#5b9bd9", "#8073ac": "#a99cd6", "#a6611a": "#c98a4b"}  # too dark on a dark page


RING = LinearSegmentedColormap.from_list("ring", ["#d1495b", "#d98c21", "#4fa36f", "#4c86d9", "#9a63c4", "#d1495b"])


def colour(name: str, theme: dict) -> str:
    """A variant's colour, the teacher's by theme."""
    if name == "teacher":
        return theme["teacher"]
    found = PALETTE[name]
    return LIFTED.get(found, found) if theme[PAPER] != "#ffffff" else found


@cache
def metrics_of(recipe: str) -> dict:
    return json.loads((RESULTS / f"{recipe}.json").read_text())["metrics"]


def panel_labels(axis, title: str, theme: dict) -> None:
    axis.set_title(title, color=theme[INK], fontsize=12)
