"""The command ``gad``: its words are checked here and handed over to the scripts in ``pipelines/``, DVC's own entry.

It imports neither torch nor pydantic, so that help, completion and a mistyped word take no time.
"""

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from gad.runtime.cli import positive_argument
from gad.runtime.environment import NO_BYTECODE
from gad.runtime.paths import ROOT

STAGES = {
    "dataset": "autoencoder and evaluators that the emoji recipes share",
    "teacher": "an exact denoiser, or a small diffusers pipeline",
    "noise_pairs": "the teacher's outputs for noises in pairs",
    "student": "one variant, all seeds",
    "sensitivity": "the response of teacher and students to their noise",
    "fidelity": "scores and distances of images",
    "control": "layout, retrieval, diversity and noise optimisation",
    "report": "tables, figures and provenance on one page",
}
SCRIPTS = {"run": "run_stage.py", "doctor": "doctor.py", "sweep": "ablate.py", "publish": "publish.py"}
EXAMPLES = """examples:
  gad doctor swiss_roll
  gad run teacher --recipe smoke
  gad sweep weight --quick
  gad publish --recipe compact_tdm --variant gad
  eval "$(gad --print-completion bash)"
"""
RUN_EXAMPLES = """stages, in their order:
{stages}

examples:
  gad run noise_pairs --recipe smoke
  gad run student --recipe smoke --variant gad
  gad run report --recipe smoke           # then open reports/smoke/report.html
  dvc repro report@swiss_roll             # DVC runs every stage that is out of date
"""
DOCTOR_EXAMPLES = """examples:
  gad doctor pixart_tdm
  LOCAL_WORLD_SIZE=8 gad doctor pixart_tdm     # counts the RAM of 8 processes on this machine

The exit status is 1 if something is missing.
"""
SWEEP_EXAMPLES = """examples:
  gad sweep                        # every sweep of pipelines/ablations.yaml
  gad sweep weight window --jobs 2
  gad sweep weight --quick         # shorter training, into results/ablations/weight_quick.csv
  gad sweep weight --table         # only the table of what is recorded
"""
PUBLISH_EXAMPLES = """examples:
  gad publish --recipe compact_tdm --variant gad        # into data/compact_tdm/published/gad
  gad publish --recipe compact_tdm --variant gad --seed 1 --out ~/gad_student
"""


def project_root(folder: Path) -> Path:
    """The checkout that ``folder`` lies in, else the one that is installed."""
    parents = (folder, *folder.parents)
    return next((path for path in parents if (path / "pipelines" / SCRIPTS["run"]).is_file()), ROOT)


class _PrintCompletion(argparse.Action):
    """Print a shell's completion script and end."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: object, values: Any, option_string: Any = None
    ) -> None:
        import shtab  # here, since no other command needs it

        print(shtab.complete(gad_command_parser(completing=True), values))
        parser.exit()


def gad_command_parser(completing: bool = False) -> argparse.ArgumentParser:
    """The parser of the command.

    ``completing``: stages, recipes, variants and sweeps are listed for a shell to choose from. Otherwise the scripts
    check them, whose messages say what there is.
    """
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="gad", description="Geometry-aware distillation.", epilog=EXAMPLES, formatter_class=raw
    )
    parser.add_argument(
        "--print-completion", choices=["bash", "zsh", "tcsh"], action=_PrintCompletion, help="completion for a shell"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add = partial(commands.add_parser, formatter_class=raw)
    listed = "\n".join(f"  {name:12s} {what}" for name, what in STAGES.items())
    run = add(
        "run",
        help="one stage of a recipe",
        description="Run one stage; its page is reports/RECIPE/STAGE.html.",
        epilog=RUN_EXAMPLES.format(stages=listed),
    )
    run.add_argument("stage", metavar="STAGE", help="see below", choices=list(STAGES))
    run.add_argument("--recipe", metavar="R", help="a file of pipelines/recipes, without .yaml")
    run.add_argument("--variant", metavar="V", help="of the stage student: baseline, gad, ...")
    doctor = add(
        "doctor",
        help="what a recipe lacks on this machine",
        description="Say what a recipe lacks on this machine, a line each, before hours are spent.",
        epilog=DOCTOR_EXAMPLES,
    )
    doctor.add_argument("recipe", metavar="RECIPE", help="a file of pipelines/recipes, without .yaml")
    sweep = add(
        "sweep",
        help="settings as queued experiments",
        description="Queue the sweeps of pipelines/ablations.yaml as DVC experiments, run them and write their tables.",
        epilog=SWEEP_EXAMPLES,
    )
    sweep.add_argument("names", metavar="NAME", nargs="*", help="of pipelines/ablations.yaml; all by default")
    sweep.add_argument("--jobs", metavar="N", type=positive_argument, help="experiments at once")
    sweep.add_argument("--quick", action="store_true", help="shorter training, tables of their own")
    sweep.add_argument("--table", action="store_true", help="write the tables of what is recorded, run nothing")
    publish = _add_publish(add)
    if completing:
        _list_choices(run, doctor, sweep, publish)
    return parser


def _add_publish(add: Callable[..., argparse.ArgumentParser]) -> argparse.ArgumentParser:
    publish = add(
        "publish",
        help="a trained student as a folder to hand on",
        description="Write a trained student as a diffusers folder in half precision, with a model card.",
        epilog=PUBLISH_EXAMPLES,
    )
    publish.add_argument("--recipe", metavar="R", help="a file of pipelines/recipes, without .yaml", required=True)
    publish.add_argument("--variant", metavar="V", help="baseline, gad, ...", required=True)
    publish.add_argument("--seed", metavar="N", help="of the student; the recipe's first one by default")
    publish.add_argument("--out", metavar="FOLDER", help="data/RECIPE/published/VARIANT by default")
    return publish


def _list_choices(*parsers: argparse.ArgumentParser) -> None:
    root = project_root(Path.cwd())
    texts = {
        path.stem: path.read_text(encoding="utf-8") for path in sorted((root / "pipelines" / "recipes").glob("*.yaml"))
    }
    listed = re.findall(r"^variants: *\[([^]]*)\]", "\n".join(texts.values()), re.M)
    variants = sorted({name.strip() for names in listed for name in names.split(",")})
    lines = (root / "pipelines" / "ablations.yaml").read_text(encoding="utf-8").splitlines()
    sweeps = [line.partition(":")[0] for line in lines if line[:1].isalpha() and ":" in line]
    known = {"recipe": list(texts), "variant": variants, "names": sweeps}
    for parser in parsers:
        for action in parser._actions:
            if action.dest in known:
                action.choices = known[action.dest]


def gad_command_arguments(arguments: argparse.Namespace) -> list[str]:
    """The words that the command's script is given."""
    words: list[str] = []
    for name, value in vars(arguments).items():
        if name in ("command", "print_completion") or value is None or value is False:
            continue
        if name in ("stage", "names") or (name == "recipe" and arguments.command == "doctor"):
            words += value if isinstance(value, list) else [value]
        else:
            words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return words


def gad_command(words: Sequence[str] | None = None) -> NoReturn:
    arguments = gad_command_parser().parse_args(words)
    script = project_root(Path.cwd()) / "pipelines" / SCRIPTS[arguments.command]
    os.environ.pop(NO_BYTECODE, None)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, str(script), *gad_command_arguments(arguments)])


if __name__ == "__main__":
    gad_command()
