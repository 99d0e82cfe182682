"""DVC's stages depend on all the code that decides their numbers."""

import ast
import configparser
import json
import re

import pytest
from dvc_render.html import render_html
from dvc_render.vega import VegaRenderer
from ruamel.yaml import YAML
from test_rooms import IMPORTS, MODULES, room_of

from gad.runtime.paths import ROOT

STAGES = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]
TRAINED_ONCE = {"dataset", "teacher"}  # their outputs lie in git: code beside their own room is left to the tests


def notebook_of(stage: str):
    (found,) = (ROOT / "notebooks").glob(f"[0-9]*_{stage}.ipynb")
    return found


def imported_modules(stage: str) -> set[str]:
    """All modules of gad that a stage's notebook imports, and what these import."""
    cells = json.loads(notebook_of(stage).read_text())["cells"]
    source = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    source = re.sub(r"^[%!].*$", "", source, flags=re.M)
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("gad"):
            names |= {f"{node.module}.{alias.name}".removeprefix("gad.") for alias in node.names}
            names.add(node.module.removeprefix("gad."))
    waiting, found = list(names & set(MODULES)), set()
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += IMPORTS[module]
    return found


def dependencies(stage: str) -> list[str]:
    entry = STAGES[stage]
    return entry.get("do", entry)["deps"]


@pytest.mark.parametrize("stage", sorted(set(STAGES) - TRAINED_ONCE))
def test_a_stage_depends_on_its_notebook_and_on_every_room_that_it_imports(stage):
    listed = dependencies(stage)
    assert f"notebooks/{notebook_of(stage).name}" in listed
    rooms = {room_of(module) for module in imported_modules(stage)}
    if stage != "report":
        rooms.discard("report")  # it draws what a stage has written
        rooms -= {"metrics"} if stage == "noise_pairs" else set()  # the statistics that figures draw
    assert rooms and rooms <= {name.removeprefix("src/gad/") for name in listed if name.startswith("src/gad/")}


def test_what_is_trained_once_depends_on_how_it_is_made():
    assert "src/gad/data/emoji" in dependencies("dataset")
    assert "${item.teacher_code}" in dependencies("teacher")


def test_dvc_compares_headline_numbers_alone_and_keeps_the_full_statistics_as_outputs():
    for stage, entry in STAGES.items():
        entry = entry.get("do", entry)
        tracked = [name for named in entry.get("metrics", []) for name in named]
        assert tracked == (["data/${item.recipe}/metrics/headline.json"] if stage == "report" else [])
        full = [
            next(iter(out)) for out in entry.get("outs", []) if isinstance(out, dict) and "/metrics/" in next(iter(out))
        ]
        assert len(full) == (stage != "report")


def test_the_metrics_of_all_recipes_fit_one_screen():
    """``dvc metrics diff`` prints a line a number; a recipe has twelve at most."""
    found = sorted((ROOT / "data").glob("*/metrics/headline.json"))
    numbers = [sum(map(len, json.loads(path.read_text()).values())) for path in found]
    assert found and max(numbers) <= 12


def test_dvc_yaml_can_be_read():
    assert len((ROOT / "dvc.yaml").read_text().splitlines()) <= 200


def test_the_page_of_dvc_plots_loads_nothing_from_a_network(tmp_path):
    config = configparser.ConfigParser()
    config.read_string(re.sub(r"^ +", "", (ROOT / ".dvc" / "config").read_text(), flags=re.M))
    page = ROOT / ".dvc" / config["plots"]["html_template"]
    rows = [{"step": step, "total": 1 / step, "rev": "workspace", "filename": "a/student/gad/b.csv"} for step in (1, 2)]
    options = {"x": "step", "y": "total", "template": "by_variant", "template_dir": str(ROOT / ".dvc" / "plots")}
    text = render_html([VegaRenderer(rows, "training", **options)], tmp_path / "i.html", page).read_text()
    assert "vegaEmbed('#training'" in text and '"DVC_METRIC' not in text
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", text)


@pytest.mark.parametrize("name", ["training", "trajectory"])
def test_the_template_of_a_plot_of_variants_is_there(name):
    plots = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["plots"]
    (plot,) = (each[name] for each in plots if name in each)
    assert (ROOT / ".dvc" / "plots" / f"{plot['template']}.json").is_file()
