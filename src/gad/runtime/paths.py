"""Where everything lies: the project's folders and the names of a stage's files."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT / "data"
SPRITES = DATA / "sprites"
EMOJI = DATA / "emoji"  # what all emoji recipes share: vae/, evaluators/
RECIPES = ROOT / "pipelines" / "recipes"
REPORTS = ROOT / "reports"
RESULTS = ROOT / "results"  # long results, committed with their provenance


def stage_dir(recipe: str, stage: str, *parts: str) -> Path:
    """``data/<recipe>/<stage>/...``; it may not exist yet."""
    return DATA.joinpath(recipe, stage, *parts)


def metrics_file(recipe: str, stage: str) -> Path:
    """``data/<recipe>/metrics/<stage>.json``."""
    return DATA / recipe / "metrics" / f"{stage}.json"


def stage_cache_dir(recipe: str, stage: str) -> Path:
    """The folder of a stage's partial results; no output of the stage."""
    return stage_dir(recipe, "live", "cache", stage)
