"""The only module that knows where things lie and in which format."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data"
SPRITES = DATA / "sprites"
