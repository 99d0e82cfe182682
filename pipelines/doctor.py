"""Says what a recipe lacks on this machine, a line each, before hours are spent; exit status 1 if something is missing.

python pipelines/doctor.py RECIPE        (make doctor RECIPE=...)

LOCAL_WORLD_SIZE=8 before it counts the RAM of 8 processes on this machine.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns of torchvision, which nothing here needs

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # of this tree, whichever is installed

from gad.config import RecipeError, load_recipe
from gad.preflight.finding import Finding


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="a file of pipelines/recipes, without .yaml")
    try:
        settings = load_recipe(parser.parse_args(arguments).recipe)
    except RecipeError as error:
        print(Finding("missing", str(error), "correct it in pipelines/recipes"))
        return 1
    from gad.preflight.doctor import examine_recipe  # here, since it imports torch and diffusers

    missing = False
    for finding in examine_recipe(settings):
        print(finding, flush=True)
        missing |= finding.state == "missing"
    return int(missing)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
