"""A stage's work on several GPUs or machines, without its notebook.

accelerate launch pipelines/parallel.py noise_pairs --recipe R
accelerate launch pipelines/parallel.py student --recipe R --variant V
accelerate launch pipelines/parallel.py sensitivity --recipe R
accelerate launch pipelines/parallel.py fidelity --recipe R
accelerate launch pipelines/parallel.py control --recipe R

Run the stage itself afterwards (pipelines/run_stage.py): its notebook finds the work done, shows the log and writes the
metrics. Started again after a kill, the work goes on from its last shard, checkpoint,
model, batch of noises or of images. ``torchrun`` does, too.
"""

import argparse
import os
import sys
from contextlib import nullcontext
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is fetched from a hub unless asked for: HF_HUB_OFFLINE=0

sys.path.insert(0, str(Path(__file__).resolve().parent))  # PYTHONSAFEPATH leaves it out
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # of this tree, whichever is installed

from run_stage import IGNORED, StageError, check_inputs, load_runnable_recipe, locks_of

from gad.config import Recipe
from gad.config.variants import VARIANTS, check_variant
from gad.distillation.training_record import check_training_record
from gad.runtime.environment import keep_bytecode_in_environment, prepare_environment
from gad.runtime.launchers import check_launcher
from gad.runtime.paths import DATA, ROOT, stage_dir

EVALUATIONS = ("sensitivity", "fidelity", "control")


def evaluate(stage: str, settings: Recipe):
    """A line for each part of a stage's evaluation that this process has done."""
    from gad.evaluation.control.tasks import precompute_tasks
    from gad.evaluation.fidelity.precompute import precompute_fidelity
    from gad.evaluation.sensitivity.precompute import precompute_sensitivity
    from gad.models.stage import load_stage

    precompute = {"sensitivity": precompute_sensitivity, "fidelity": precompute_fidelity, "control": precompute_tasks}
    loaded = load_stage(settings.name, stage)
    yield from precompute[stage](loaded.teacher, loaded.models, loaded.settings, cache_dir=loaded.cache)


def make_pairs(settings: Recipe):
    """A line for each shard of noise pairs that this process has made."""
    from gad.data.pair_generation import generate_noise_pairs
    from gad.models.model import load_model
    from gad.runtime.fingerprint import fingerprint

    folder = stage_dir(settings.name, "teacher")
    pairs_folder, teacher = stage_dir(settings.name, "noise_pairs"), load_model(folder)
    for done in generate_noise_pairs(pairs_folder, teacher, fingerprint(folder), settings.noise_pairs):
        yield f"noise pairs up to {done} of {settings.noise_pairs.num_pairs}"


def train(settings: Recipe, variant: str):
    """A line for each state of a training that is logged."""
    from gad.data.noise_pairs import NoisePairs
    from gad.distillation.train_students import train_student_seeds
    from gad.models.model import load_model
    from gad.runtime.fingerprint import fingerprint

    recipe, folder = settings.name, stage_dir(settings.name, "teacher")
    options = {"folder": stage_dir(recipe, "student", variant), "live": DATA / recipe / "live" / variant}
    options["cache"] = stage_dir(recipe, "prompt_embeds")
    teacher = load_model(folder)
    pairs = NoisePairs(stage_dir(recipe, "noise_pairs"), settings.noise_pairs, teacher=fingerprint(folder))
    for seed, state in train_student_seeds(teacher, pairs, settings.student, variant=variant, **options):
        terms = ", ".join(f"{name} {value:.4g}" for name, value in state.terms.items())
        yield f"seed {seed}, step {state.step}: {terms}"


def check(stage: str, recipe: str, variant: str | None) -> Recipe:
    """The recipe, once all is checked that costs nothing. Raises ValueError or StageError, in one line."""
    settings = load_runnable_recipe(recipe, ROOT)
    check_launcher()
    if stage == "student":
        check_variant(variant, settings.student.paradigm)
    check_inputs(stage, recipe, f"{stage}@{recipe}" + (f"-{variant}" if variant else ""), ROOT)
    if stage in EVALUATIONS:
        check_training_record(settings, stage_dir(recipe, "student"))
    return settings


def work(stage: str, settings: Recipe, variant: str | None):
    """Lines that tell how far the work is."""
    if stage == "student":
        return train(settings, variant)
    return make_pairs(settings) if stage == "noise_pairs" else evaluate(stage, settings)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=["noise_pairs", "student", *EVALUATIONS])
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--variant", choices=list(VARIANTS))
    arguments = parser.parse_args()
    if (arguments.variant is None) == (arguments.stage == "student"):
        parser.error("the stage student needs --variant, the others have none")
    keep_bytecode_in_environment()
    stage, variant = arguments.stage, arguments.variant
    try:
        prepare_environment(alone=False)
        print(*IGNORED, sep="\n", end="\n" * bool(IGNORED), file=sys.stderr)
        settings = check(stage, arguments.recipe, variant)
        from gad.runtime.distributed import rank_and_world_size  # here, as all that imports torch, which takes seconds

        rank, processes = rank_and_world_size()
        name = "-".join(part for part in (stage, variant) if part)
        with locks_of(stage, name, DATA / settings.name) if rank == 0 else nullcontext():  # one for all of a launch
            for line in work(stage, settings, variant):
                if rank == 0 or stage != "student":  # whose processes do the same
                    print(f"[{rank + 1}/{processes}] {line}", flush=True)
    except (StageError, ValueError, FloatingPointError, OSError) as error:  # FloatingPointError: a loss is not finite
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
