"""Writes a trained student as a diffusers folder in half precision, with a model card: to share, or push to a hub.

python pipelines/publish.py --recipe R --variant V [--seed N] [--out FOLDER]

python pipelines/publish.py --recipe compact_tdm --variant gad        into data/compact_tdm/published/gad
python pipelines/publish.py --recipe compact_tdm --variant gad --seed 1 --out ~/gad_student
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is fetched from a hub unless asked for: HF_HUB_OFFLINE=0
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns of torchvision, which nothing here needs

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # of this tree, whichever is installed

from gad.runtime.cli import exit_with_status


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a whole number of at least 0, not {text}")
    return int(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", required=True, help="a file of pipelines/recipes, without .yaml")
    parser.add_argument("--variant", required=True, help="baseline, gad, ...")
    parser.add_argument("--seed", type=_seed, help="of the student; the recipe's first one by default")
    parser.add_argument("--out", type=Path, help="the folder; data/RECIPE/published/VARIANT by default")
    arguments = parser.parse_args()
    from gad.report.publishing import publish_student  # here, since it imports torch and diffusers

    folder = arguments.out and arguments.out.expanduser()
    print(publish_student(arguments.recipe, arguments.variant, arguments.seed, folder))


if __name__ == "__main__":
    exit_with_status(main)
