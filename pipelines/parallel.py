"""A stage's work on several GPUs or machines, without its notebook.

accelerate launch pipelines/parallel.py noise_pairs --recipe R
accelerate launch pipelines/parallel.py student --recipe R --variant V
accelerate launch pipelines/parallel.py sensitivity --recipe R
accelerate launch pipelines/parallel.py fidelity --recipe R
accelerate launch pipelines/parallel.py control --recipe R

Run the stage itself afterwards (pipelines/run_stage.py): its notebook finds the work done, shows the log and writes the
metrics. Started again after a kill, the work goes on from its last shard, checkpoint,
model or batch of noises. ``torchrun`` does, too.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is fetched from a hub unless asked for: HF_HUB_OFFLINE=0

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # of this tree, whichever is installed

from gad.config import Recipe, load_recipe
from gad.config.variants import VARIANTS, check_variant
from gad.data.noise_pairs import NoisePairs
from gad.data.pair_generation import generate
from gad.distillation.nan_guard import NonFiniteLoss
from gad.distillation.train_students import train_seeds
from gad.distillation.training_record import check_trained
from gad.evaluation.control.tasks import precompute_control
from gad.evaluation.fidelity.precompute import precompute_fidelity
from gad.evaluation.sensitivity.precompute import precompute_sensitivity
from gad.models.model import load_model
from gad.models.stage import load_stage
from gad.runtime.distributed import place
from gad.runtime.fingerprint import fingerprint
from gad.runtime.paths import DATA, stage_dir

EVALUATIONS = {"sensitivity": precompute_sensitivity, "fidelity": precompute_fidelity, "control": precompute_control}


def evaluate(name: str, recipe: str, settings: Recipe):
    """A line for each part of a stage's evaluation that this process has done."""
    check_trained(settings, stage_dir(recipe, "student"))
    stage = load_stage(recipe, name)
    yield from EVALUATIONS[name](stage.teacher, stage.models, stage.settings, parts=stage.cache)


def work(stage: str, recipe: str, variant: str | None):
    """Lines that tell how far the work is."""
    settings = load_recipe(recipe)
    if stage in EVALUATIONS:
        yield from evaluate(stage, recipe, settings)
        return
    teacher_folder, pairs_folder = stage_dir(recipe, "teacher"), stage_dir(recipe, "noise_pairs")
    teacher = load_model(teacher_folder)
    if stage == "noise_pairs":
        for done in generate(pairs_folder, teacher, fingerprint(teacher_folder), settings.noise_pairs):
            yield f"noise pairs up to {done} of {settings.noise_pairs.num_pairs}"
        return
    check_variant(variant, settings.student.paradigm)
    folders = {"folder": stage_dir(recipe, "student", variant), "live": DATA / recipe / "live" / variant}
    cache = stage_dir(recipe, "prompt_embeds")
    pairs = NoisePairs(pairs_folder, settings.noise_pairs, teacher=fingerprint(teacher_folder))
    for seed, state in train_seeds(teacher, pairs, settings.student, variant=variant, cache=cache, **folders):
        terms = ", ".join(f"{name} {value:.4g}" for name, value in state.terms.items())
        yield f"seed {seed}, step {state.step}: {terms}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=["noise_pairs", "student", *EVALUATIONS])
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--variant", choices=list(VARIANTS))
    arguments = parser.parse_args()
    if (arguments.variant is None) == (arguments.stage == "student"):
        parser.error("the stage student needs --variant, the others have none")
    rank, processes = place()
    try:
        for line in work(arguments.stage, arguments.recipe, arguments.variant):
            if rank == 0 or arguments.stage != "student":  # whose processes do the same
                print(f"[{rank + 1}/{processes}] {line}", flush=True)
    except (ValueError, NonFiniteLoss, OSError) as error:  # a recipe's fault is a ValueError
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
