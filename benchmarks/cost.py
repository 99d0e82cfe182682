"""What GAD costs (the paper's Table 10): time of a training step and peak memory, beside the same base loss without it.

    python benchmarks/cost.py emoji_flow_sid [--turns 10] [--variants baseline gad gad_thin]

Variants train side by side in one process and take turns, a step each, so what slows the machine down slows all of
them; what a variant adds is the median over turns. Peak memory is that of a process of its own for each variant. The
recipe's noise pairs must be there (dvc repro noise_pairs@<recipe>). A variant's name with an ending of OTHER runs in
that cheaper setting, but for those of SPARSE: which of a few steps have GAD is chance, so their time is computed, turn
by turn, from steps with GAD and steps without. Where a step's time goes: benchmarks/step_profile.py.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # of this tree, whichever is installed

from gad.config import StudentConfig, load_recipe
from gad.config.variants import VARIANTS
from gad.data.noise_pairs import NoisePairs
from gad.data.text_embeddings import encode_pair_prompts
from gad.distillation.objective import build_objective
from gad.distillation.training_loop import train
from gad.models.model import Model, load_model
from gad.models.students import start_student
from gad.preflight.timing import Alternating, Timed, Turns, time_by_turns
from gad.runtime.cli import exit_with_status, positive_argument
from gad.runtime.paths import stage_dir

OTHER = {  # on a quarter of the pairs, between two times, on ends of trajectories; the endings of what runs
    "_thin": {"gad_batch_stride": 4},
    "_gated": {"gad_interval": [0.2, 0.6]},
    "_ends": {"target": "end_to_end"},
}
SPARSE = {"_fifth": 0.2, "_half": 0.5}  # at this share of the steps (gad_fraction); may follow one of OTHER
WARM = 3  # steps before those that count


def sparse(name: str) -> tuple[str, float | None]:
    """The variant whose steps a sparse one has at a share of the steps, and that share; None for one that runs."""
    for ending, share in SPARSE.items():
        if name.endswith(ending):
            return name.removesuffix(ending), share
    return name, None


def settings_of(name: str) -> tuple[str, dict]:
    """The variant, and what its endings change."""
    name, share = sparse(name)
    drawn = {} if share is None else {"gad_fraction": share}
    for ending, changes in OTHER.items():
        if name.endswith(ending):
            return name.removesuffix(ending), changes | drawn
    return name, drawn


def prepare(recipe: str, name: str, steps: int) -> tuple[object, StudentConfig, dict, Model]:
    """The objective, its settings for so many steps, what :func:`gad.distillation.training_loop.train` takes besides,
    and the teacher.
    """
    settings = load_recipe(recipe)
    variant, changes = settings_of(name)
    lengths = {"num_steps": steps, "log_every": steps, "checkpoint_every": steps}
    config = StudentConfig(**settings.student.model_dump() | changes | lengths | {"shard": False})
    teacher = load_model(stage_dir(recipe, "teacher"))
    pairs = NoisePairs(stage_dir(recipe, "noise_pairs"), settings.noise_pairs)
    kept = {"cache": stage_dir(recipe, "prompt_embeds"), "dtype": config.dtype, "device": config.device}
    prompts = encode_pair_prompts(teacher, pairs, **kept)
    student = start_student(teacher, config, seed=0)
    objective = build_objective(teacher, student, pairs, config, variant=variant, seed=0)
    given = {"student": student, "pairs": pairs, "prompts": prompts, "variant": variant, "seed": 0}
    return objective, config, given, teacher


def run(timed: Timed, config: StudentConfig, given: dict) -> Timed:
    """Train to the end; the clock knows what it took."""
    with tempfile.TemporaryDirectory() as folder:
        list(train(objective=timed, config=config, folder=Path(folder), **given))
    return timed


def laps_of(recipe: str, name: str, count: int, turns: Turns, mine: int) -> list[float]:
    """Seconds of ``count`` steps after a few to warm up, each waited for."""
    objective, config, given, _ = prepare(recipe, name, WARM + count + 1)  # the last one logs
    return run(Alternating(objective, config.accumulate, turns, mine), config, given).laps[WARM:]


def peak_of(recipe: str, name: str) -> float:
    """Peak memory of a few training steps in MB."""
    objective, config, given, _ = prepare(recipe, name, WARM + 1)
    return run(Timed(objective, config.accumulate), config, given).peak / 1e6


def peak_alone(recipe: str, name: str) -> float:
    """:func:`peak_of` in a process of its own."""
    done = subprocess.run([sys.executable, __file__, recipe, "--one", name], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{name}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def with_sparse(values: dict[str, list[float]], names: list[str]) -> dict[str, list[float]]:
    """The variants of ``names``: what is sparse costs its share of what its variant adds to the baseline."""
    found = {}
    for name in names:
        dense, share = sparse(name)
        both = zip(values["baseline"], values[dense], strict=True)
        found[name] = values[name] if share is None else [base + share * (dear - base) for base, dear in both]
    return found


def compare(laps: dict[str, list[float]], peaks: dict[str, float]) -> pd.DataFrame:
    """A row per variant: the median step, and what it adds to the first variant: median and quartiles over turns."""
    seconds = pd.DataFrame(laps)
    base, memory = seconds.iloc[:, 0], pd.Series(peaks)
    ratios = seconds.div(base, axis=0) - 1
    low, middle, high = (ratios.quantile(share) for share in (0.25, 0.5, 0.75))
    return pd.DataFrame(
        {
            "s a step": seconds.median().map("{:.3f}".format),
            "time added": middle.map("{:+.1%}".format),
            "quartiles": [f"{a:+.1%} .. {b:+.1%}" for a, b in zip(low, high, strict=True)],
            "peak MB": memory.map("{:.0f}".format),
            "memory added": (memory / memory.iloc[0] - 1).map("{:+.1%}".format),
        }
    )


def default_variants(recipe: str) -> list[str]:
    """The baseline and GAD, and the cheaper settings where there is a call to save."""
    settings = load_recipe(recipe)
    free = settings.student.paradigm == "matching" or settings.noise_pairs.student_steps == 1
    return ["baseline", "gad", *(() if free else ("gad_fifth", "gad_thin", "gad_thin_half", "gad_gated"))]


def check(variants: list[str]) -> str | None:
    """What is wrong with the names, in one line."""
    unknown = {settings_of(name)[0] for name in variants} - set(VARIANTS)
    if unknown:
        return f"unknown variant {', '.join(sorted(unknown))}; there are: {', '.join(VARIANTS)}"
    for name in variants:
        dense, share = sparse(name)
        absent = {"baseline", dense} - set(variants)
        if share is not None and absent:
            return f"{name} is computed from the baseline and {dense}: name {min(absent)} too"
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--turns", type=positive_argument, default=10, help="steps of each variant that are timed")
    parser.add_argument("--variants", nargs="+")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    recipe = arguments.recipe
    if arguments.one:
        print(json.dumps(peak_of(recipe, arguments.one)))
        return
    variants = arguments.variants or default_variants(recipe)
    fault = check(variants)
    if fault:
        parser.error(fault)
    timed = [name for name in variants if sparse(name)[1] is None]
    peaks = {name: peak_alone(recipe, name) for name in timed}
    laps = time_by_turns([partial(laps_of, recipe, name, arguments.turns) for name in timed])
    laps = with_sparse(dict(zip(timed, laps, strict=True)), variants)
    print(f"{recipe}: {arguments.turns} turns of each variant")
    print(compare(laps, {name: peaks[sparse(name)[0]] for name in variants}).to_string())


if __name__ == "__main__":
    exit_with_status(main)
