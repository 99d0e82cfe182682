"""Where everything lies: the project's folders and the names of a stage's files."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT / "data"
SPRITES = DATA / "sprites"
EMOJI = DATA / "emoji"  # what all emoji recipes share: vae/, vae_compact/, evaluators/
AUTOENCODERS = {"standard": EMOJI / "vae", "compact": EMOJI / "vae_compact"}  # by teacher.autoencoder
RECIPES = ROOT / "pipelines" / "recipes"
REPORTS = ROOT / "reports"
RESULTS = ROOT / "results"  # long results, committed with their provenance


def stage_dir(recipe: str, stage: str, *parts: str) -> Path:
    """``data/<recipe>/<stage>/...``; it may not exist yet."""
    return DATA.joinpath(recipe, stage, *parts)


def metrics_file(recipe: str, stage: str) -> Path:
    """``data/<recipe>/metrics/<stage>.json``."""
    return DATA / recipe / "metrics" / f"{stage}.json"


def project_path(named: str) -> Path:
    """The path that a recipe names: absolute, from the project's root, or from a home folder (``~``).

    Raises ValueError, in one line, for the home of a user who has none here.
    """
    try:
        return ROOT / Path(named).expanduser()
    except RuntimeError as error:
        raise ValueError(f"cannot find the home folder in the path {named}: write it out") from error


def folder_or_hub_name(source: str) -> str:
    """A model's folder by its whole path; a name on the hub as it is. Raises ValueError as :func:`project_path`."""
    path = project_path(source)
    return str(path) if path.is_dir() or source.startswith("~") else source


def stage_cache_dir(recipe: str, stage: str) -> Path:
    """The folder of a stage's partial results; no output of the stage."""
    return stage_dir(recipe, "live", "cache", stage)
