"""Runs one stage: checked recipe → notebook through papermill → executed copy and page in reports/<recipe>/.

python pipelines/run_stage.py STAGE --recipe R [--variant V]

python pipelines/run_stage.py noise_pairs --recipe smoke
python pipelines/run_stage.py student --recipe smoke --variant gad
"""

import argparse
import logging
import os
import shutil
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

SOURCE = str(Path(__file__).resolve().parents[1] / "src")
sys.path.insert(0, SOURCE)  # of this tree: DVC runs queued experiments in a copy of the one that is installed

from gad.runtime.environment import ignore_foreign_packages, prepare_environment

IGNORED = ignore_foreign_packages()  # before anything is imported from them

if __name__ == "__main__":
    from gad.runtime.cli import leave_on_signal

    leave_on_signal()  # the imports below take a second

from gad.config import Recipe, load_recipe
from gad.config.stage_command import is_dvc_recipe, stage_command
from gad.config.variants import VARIANTS, check_variant
from gad.distillation.training_record import check_training_record
from gad.preflight.rounding import check_rounding
from gad.runtime.atomic import WriteError, remove_folder
from gad.runtime.cli import raise_on_signal, stopped_status
from gad.runtime.environment import keep_bytecode_in_environment
from gad.runtime.kernel import KERNEL, stage_kernel
from gad.runtime.launchers import check_launcher
from gad.runtime.paths import ROOT
from gad.runtime.stage_lock import stage_locks

if TYPE_CHECKING:  # papermill, nbconvert and pandas take seconds: only once everything else is checked
    import nbformat

INPUTS = {  # what must lie in data/<recipe> before a stage can run
    "dataset": [],
    "teacher": [],
    "noise_pairs": ["teacher"],
    "student": ["teacher", "noise_pairs"],
    "sensitivity": ["teacher", "student"],
    "fidelity": ["teacher", "student"],
    "control": ["teacher", "student"],
    "report": ["student", "sensitivity", "fidelity", "control"],
}
UNFINISHED = "unfinished.txt"  # in the folder of an analysis that has not ended
MARKED = ("sensitivity", "fidelity", "control")
FREE_DISK = 200_000_000  # bytes; a stage writes less
ALLOCATOR = {  # glibc keeps freed memory; given back and faulted in again, it costs a network a third of its speed
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
    "MALLOC_TOP_PAD_": str(2**28),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}


class StageError(Exception):
    """Why a stage did not run or did not end, in at most five lines."""


def find_notebook(stage: str, root: Path) -> Path:
    found = sorted((root / "notebooks").glob(f"[0-9]*_{stage}.ipynb"))
    if len(found) != 1:
        names = f": {', '.join(path.name for path in found)}" if found else ""
        raise StageError(f"there should be one notebook notebooks/*_{stage}.ipynb, not {len(found)}{names}")
    return found[0]


def check_parameters(notebook: Path, parameters: dict) -> None:
    """papermill only warns about a name that the notebook does not have."""
    import papermill

    try:
        known = papermill.inspect_notebook(str(notebook))
    except OSError as error:
        raise StageError(f"cannot read the notebook {notebook}: {error.strerror or error}") from error
    except Exception as error:  # nbformat and papermill raise many kinds for what is no notebook
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise StageError(
            f"{notebook} is no notebook: {reason}; restore it: git checkout notebooks/{notebook.name}"
        ) from error
    for name in parameters:
        if name not in known:
            raise StageError(f"{notebook.name} has no parameter {name!r}; it has: {', '.join(known) or 'none'}")


def check_inputs(stage: str, recipe: str, label: str, root: Path) -> None:
    known = is_dvc_recipe(recipe, root)
    for name in INPUTS[stage]:
        folder = root / "data" / recipe / name
        if not folder.is_dir() or not any(folder.iterdir()):
            variant = "baseline" if name == "student" else None
            how = f"dvc repro {label}" if known else stage_command(recipe, name, variant, root=root)
            raise StageError(f"stage '{stage}' needs {folder.relative_to(root)}; run: {how}")
        if (folder / UNFINISHED).exists() or name == "noise_pairs" and not (folder / "manifest.json").exists():
            how = stage_command(recipe, name, root=root)
            raise StageError(f"stage '{stage}' needs {folder.relative_to(root)}, which is unfinished; run: {how}")
    if "student" in INPUTS[stage] and not (root / "data" / recipe / "student" / "baseline").is_dir():
        how = stage_command(recipe, "student", "baseline", root=root)
        raise StageError(f"stage '{stage}' compares with the baseline, which is not trained; run: {how}")


def check_disk(root: Path, data: Path) -> None:
    """Raise StageError where a disk is full: the project's, or one that a recipe's folders are links to."""
    links = [path for path in (data, *(data.iterdir() if data.is_dir() else ())) if path.is_dir()]
    for folder in dict.fromkeys(path.resolve() for path in (root, *links)):
        free = shutil.disk_usage(folder).free
        if free < FREE_DISK:
            raise StageError(
                f"only {free / 1e6:.0f} MB free on the disk of {folder}; a stage needs {FREE_DISK / 1e6:.0f}"
            )


def locks_of(stage: str, name: str, data: Path) -> AbstractContextManager[None]:
    """The lock of a stage, ``name`` with its variant, and those of all it reads in a recipe's folder ``data``."""
    inputs = [each for each in INPUTS[stage] if each != "student"]
    if "student" in INPUTS[stage]:
        inputs += [f"student-{each}" for each in VARIANTS if (data / "student" / each).exists()]
    return stage_locks(data / "live" / "locks", name, inputs)


def load_runnable_recipe(name: str, root: Path) -> Recipe:
    """The recipe of that name. Raises RecipeError for a faulty one, and StageError for a dry run."""
    settings = load_recipe(name, root / "pipelines" / "recipes")
    if settings.dry_run:
        raise StageError(f"recipe {name!r} is a dry run; run: python benchmarks/full_scale.py {name}")
    return settings


def warn_of_rounding(stage: str, settings: Recipe) -> None:
    """Say that the recipe's step h drowns in what this stage computes in, before it takes its hours."""
    if stage not in ("noise_pairs", "student"):
        return
    for finding in check_rounding(settings):
        if finding.state == "warn" and finding.what.startswith(f"{stage}."):
            print(f"warning: {finding.what} -> {finding.do}", file=sys.stderr)


def failing_cell(notebook: "nbformat.NotebookNode") -> str:
    """The nearest heading above the cell that failed."""
    title = "(no heading)"
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            headings = [line.lstrip("# ") for line in cell.source.splitlines() if line.startswith("#")]
            title = headings[-1] if headings else title
        elif any(output.output_type == "error" for output in cell.get("outputs", [])):
            break
    return title


def _failure(notebook: Path, partial: Path, failed: Path, error: Exception, root: Path) -> StageError:
    """The error in a few lines; the executed copy is kept as ``failed``."""
    import nbformat
    from papermill.exceptions import PapermillExecutionError

    if not isinstance(error, PapermillExecutionError):
        partial.unlink(missing_ok=True)
        return StageError(
            f"the kernel of {notebook.name} was killed or ran out of memory; start again: it goes on from what is done"
        )
    partial.replace(failed)
    title = failing_cell(nbformat.read(failed, as_version=4))
    reason = " ".join(f"{error.ename}: {error.evalue}".split())[:500]
    return StageError(
        f"{notebook.name} failed in the section {title!r}\n  {reason}\n  executed copy: {failed.relative_to(root)}"
    )


def execute(notebook: Path, parameters: dict, page: Path, root: Path) -> None:
    """Run the notebook in the project's root; ``page``.ipynb and .html appear when it is done."""
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    from gad.report.notebook_html import notebook_page_html

    # nbclient's own line, which is the first of two that say the same
    logging.getLogger("papermill").addFilter(lambda record: "Kernel died" not in record.getMessage())
    page.parent.mkdir(parents=True, exist_ok=True)
    partial = page.with_name(f".{page.name}.partial.ipynb")
    failed = page.with_name(f"{page.name}.failed.ipynb")
    with stage_kernel() as kernel:
        try:
            papermill.execute_notebook(
                str(notebook),
                str(partial),
                parameters=parameters,
                kernel_name=KERNEL["name"],
                language=KERNEL["language"],
                cwd=str(root),
                progress_bar=False,
                stdout_file=sys.stdout,
                stderr_file=sys.stderr,
                config=Config(kernel),
                # all is written when its last cell ends: asked to end, it would take a second, and where a stage is
                # stopped print a traceback
                shutdown_kernel="immediate",
            )
        except (PapermillExecutionError, DeadKernelError, RuntimeError) as error:
            if type(error) is RuntimeError and "ernel died" not in str(error):  # before it has answered once
                raise
            raise _failure(notebook, partial, failed, error, root) from None
    half = page.with_name(f".{page.name}.partial.html")
    half.write_text(notebook_page_html(partial, title=f"{page.parent.name}: {page.name}"), encoding="utf-8")
    half.replace(page.with_name(f"{page.name}.html"))
    partial.replace(page.with_name(f"{page.name}.ipynb"))
    failed.unlink(missing_ok=True)


def run_stage(stage: str, recipe: str | None, variant: str | None, root: Path = ROOT) -> Path:
    """Path of the page, without ending."""
    if stage not in INPUTS:
        raise StageError(f"unknown stage {stage!r}; there are: {', '.join(INPUTS)}")
    if (recipe is None) != (stage == "dataset"):
        raise StageError(f"stage {stage!r} " + ("is shared by all recipes" if stage == "dataset" else "needs --recipe"))
    if (variant is None) == (stage == "student"):
        raise StageError("the stage 'student' needs --variant" if variant is None else f"{stage!r} has no variants")
    if recipe:
        settings = load_runnable_recipe(recipe, root)
    if variant and variant not in VARIANTS:
        raise StageError(f"unknown variant {variant!r}; there are: {', '.join(VARIANTS)}")
    if variant:
        check_variant(variant, settings.student.paradigm)
    parameters: dict[str, str | bool] = {"recipe": recipe, "variant": variant} if recipe else {"train": True}
    parameters = {name: value for name, value in parameters.items() if value}
    notebook = find_notebook(stage, root)
    name = "-".join(part for part in (stage, variant) if part)
    check_inputs(stage, recipe, f"{stage}@{recipe}" + (f"-{variant}" if variant else ""), root)
    check_disk(root, root / "data" / (recipe or "emoji"))
    if stage == "student":
        check_launcher()
    if recipe:
        if "student" in INPUTS[stage]:
            check_training_record(settings, root / "data" / recipe / "student")
        warn_of_rounding(stage, settings)
    check_parameters(notebook, parameters)
    page, data = root / "reports" / (recipe or "emoji") / name, root / "data" / (recipe or "emoji")
    with locks_of(stage, name, data):
        mark = data / stage / UNFINISHED
        if stage in MARKED:
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.write_text("the stage that writes this folder has not ended: run it again\n", encoding="utf-8")
        execute(notebook, parameters, page, root)
        mark.unlink(missing_ok=True)
        # what gad.evaluation.jobs has kept of it has served
        remove_folder(data / "live" / "cache" / stage, keep_link=True)
        if stage == "report":
            from gad.report.index import write_index

            write_index()
    return page


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", help=", ".join(INPUTS))
    parser.add_argument("--recipe", help="a file of pipelines/recipes, without .yaml; for every stage but dataset")
    parser.add_argument("--variant", help="of the stage student: baseline, gad, ...")
    arguments = parser.parse_args()
    raise_on_signal()
    keep_bytecode_in_environment()
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # templates of pages come from this environment, not from the user
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [SOURCE, os.environ.get("PYTHONPATH")]))  # for the notebook
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is fetched from a hub unless asked for: HF_HUB_OFFLINE=0
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns of torchvision, which nothing here needs
    os.environ.setdefault("TQDM_MININTERVAL", "5")  # seconds; every refresh becomes a line in the notebook
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    sys.modules.setdefault("rfc3987_syntax", None)  # jsonschema's grammar of IRIs: a second, and notebooks hold none
    for name, value in ALLOCATOR.items():
        os.environ.setdefault(name, value)
    try:
        prepare_environment(alone=True)
        print(*IGNORED, sep="\n", end="\n" * bool(IGNORED), file=sys.stderr)
        page = run_stage(arguments.stage, arguments.recipe, arguments.variant)
    except (StageError, ValueError) as error:  # a recipe's fault is a ValueError
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        told = error if isinstance(error, WriteError) else f"{error.filename or ROOT}: {error.strerror or error}"
        print(f"error: {told}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stopped:
        return stopped_status(stopped)
    print(f"{page.relative_to(ROOT)}.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
