"""Measures students of images at initialisation, before the first training step.

    python benchmarks/initialisation.py [RECIPE ...]

The recipe's teacher must be there, nothing else. Minutes a recipe; results/at_initialisation.json is written anew with
the named recipes (all small recipes of images unless any is) beside those that it holds.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # of this tree, whichever is installed

from gad.config import load_recipe
from gad.evaluation.sensitivity.initialisation import initialisation_metrics
from gad.models.model import load_model
from gad.report.provenance import git_revision
from gad.runtime.cli import exit_with_status
from gad.runtime.devices import own_device
from gad.runtime.files import read_json, write_json
from gad.runtime.paths import RESULTS, stage_dir

PATH = RESULTS / "at_initialisation.json"
RECIPES = ("emoji_flow", "emoji_unet", "emoji_dit", "emoji_unet_ladd", "emoji_dit_tdm", "emoji_flow_sid")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*")
    for name in parser.parse_args().recipes or RECIPES:
        settings, start = load_recipe(name), time.perf_counter()
        teacher = load_model(stage_dir(name, "teacher")).on(own_device(settings.sensitivity.device))
        found = {"metrics": {"sensitivity": initialisation_metrics(teacher, settings)}, "provenance": git_revision()}
        write_json(PATH, (read_json(PATH) if PATH.exists() else {}) | {name: found})
        print(f"{name}: {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    exit_with_status(main)
