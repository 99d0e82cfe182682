"""The artefacts of a recipe's stages in a tree: stored, restored, and compared byte for byte.

Executed notebooks and pages hold times and paths, and are compared without those: ``EXCEPTIONS`` names every one.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open

from gad.runtime.checkpoint import read_checkpoint

EXCEPTIONS = {
    "data/*/live": "dvclive's curves have the time of every row; cached partial results, deleted when a stage ends",
    "reports/*/*.ipynb": "times of cells, the execution's paths, and progress bars: all but those is compared",
    "reports/*/*.html": "drawn from the executed notebook of the same name, which is compared",
    "reports/*/summary.json": "provenance.when is the time of the report: all but that is compared",
    "reports/index.html": "shows that time, and is drawn from the summaries, which are compared",
}
NOTEBOOK_TIMES = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+:\d.]*|'when': '[^']*'|0x[0-9a-f]{8,}|#T_[0-9a-f]+|T_[0-9a-f]{5}"
)


def copied_state(tree: Path, recipe: str, place: Path) -> None:
    """A copy in ``place`` of all that stages of the recipe write."""
    for name in (f"data/{recipe}", "reports"):
        shutil.rmtree(place / name, ignore_errors=True)
        if (tree / name).exists():
            shutil.copytree(tree / name, place / name, symlinks=True)


def contents(tree: Path, recipe: str) -> dict[str, str]:
    """A hash of every artefact by its path: of what is comparable in it."""
    found = {}
    for root in (tree / "data" / recipe, tree / "reports"):
        for path in (path for path in sorted(root.rglob("*")) if path.is_file()):
            name = str(path.relative_to(tree))
            if f"data/{recipe}/live/" not in name and path.suffix != ".html":
                found[name] = hashlib.sha256(_comparable(path)).hexdigest()
    return found


def _comparable(path: Path) -> bytes:
    """The bytes of a file, without the times and paths that ``EXCEPTIONS`` names; all of one that is being written."""
    if ".partial" in path.name:
        return path.read_bytes()
    if path.suffix == ".ipynb":
        return _comparable_notebook(json.loads(path.read_text()))
    if path.name == "summary.json" and path.parents[1].name == "reports":
        summary = json.loads(path.read_text())
        summary["provenance"].pop("when")
        return json.dumps(summary, sort_keys=True).encode()
    return path.read_bytes()


def _comparable_notebook(notebook: dict) -> bytes:
    """Sources and outputs of the cells, without progress bars and times. What a cell prints is one text: in how many
    pieces it comes depends on the clock."""
    cells = []
    for cell in notebook["cells"]:
        found = cell.get("outputs", [])
        printed = "".join("".join(output["text"]) for output in found if output.get("name") == "stdout")
        outputs = [output for output in found if output["output_type"] != "stream" and not _is_widget(output)]
        cells.append([cell["cell_type"], cell["source"], printed, outputs])
    return NOTEBOOK_TIMES.sub("", json.dumps(cells, sort_keys=True)).encode()


def _is_widget(output: dict) -> bool:
    """Whether it is a progress bar that is drawn as a widget, whose identifier is random."""
    return "application/vnd.jupyter.widget-view+json" in output.get("data", {})


def not_whole(tree: Path, recipe: str, reference: dict[str, str]) -> list[str]:
    """What a killed stage has left under a final name and is not whole: other bytes than those of the reference, or
    unfinished work that cannot be read."""
    there = contents(tree, recipe)
    other = [name for name, found in there.items() if name in reference and found != reference[name]]
    return other + [str(path.relative_to(tree)) for path in _unreadable(tree / "data" / recipe)]


def _unreadable(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if any(part.endswith(".partial") for part in path.relative_to(folder).parts) or not path.is_file():
            continue  # under a name that nobody reads
        try:
            if path.suffix == ".safetensors":
                with safe_open(path, framework="pt") as file:
                    file.keys()
            elif path.suffix == ".parquet":
                pq.read_table(path)
            elif path.suffix == ".pt":
                read_checkpoint(path)
            elif path.suffix == ".json" and "/live/" not in str(path):
                json.loads(path.read_text())
        except (SafetensorError, OSError, ValueError, RuntimeError, EOFError):
            yield path


def differing(reference: dict[str, str], found: dict[str, str]) -> list[str]:
    """Artefacts that are not the reference's, are missing, or are left over."""
    return [name for name in sorted(reference | found) if reference.get(name) != found.get(name)]
