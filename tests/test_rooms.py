"""Ten rooms: imports point downwards only, and modules import each other in no circle."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "gad"
TESTS = Path(__file__).parent
ROOMS = [
    "runtime",
    "diffusion",
    "config",
    "models",
    "data",
    "metrics",
    "distillation",
    "evaluation",
    "report",
    "preflight",
]
STRANGERS = {"distillation", "evaluation"}  # neither knows the other; metrics stands below both


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in sorted(SOURCE.rglob("*.py"))}


def imported_by(path: Path) -> set[str]:
    """Modules of gad that a module imports, by their dotted names without ``gad.``."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            names = {name if name.removeprefix("gad.") in MODULES else node.module for name in full}
        elif isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
        else:
            continue
        found |= {name.removeprefix("gad.") for name in names if name.startswith("gad.")}
    return found & set(MODULES)


IMPORTS = {name: imported_by(path) for name, path in MODULES.items()}


def room_of(module: str) -> str:
    return module.split(".")[0]


def test_imports_are_found():
    assert "diffusion.shapes" in IMPORTS["diffusion.schedule"]


def test_the_package_has_ten_rooms_and_no_module_beside_them():
    assert {path.name for path in SOURCE.iterdir() if path.name != "__pycache__"} == {*ROOMS, "__init__.py", "py.typed"}
    assert {path.name for path in TESTS.iterdir() if path.is_dir() and any(path.rglob("test_*.py"))} == set(ROOMS)


@pytest.mark.parametrize("module", [name for name in MODULES if name != "__init__"])
def test_imports_point_downwards(module):
    own = room_of(module)
    upward = {other for other in IMPORTS[module] if ROOMS.index(room_of(other)) > ROOMS.index(own)}
    strangers = {other for other in IMPORTS[module] if {own, room_of(other)} == STRANGERS}
    assert not upward and not strangers


def test_no_circle():
    list(TopologicalSorter(IMPORTS).static_order())  # raises CycleError with the circle


def test_losses_know_no_network():
    """A loss is a function of predictions."""
    for module in ("distillation.gad_loss", "distillation.losses"):
        assert {room_of(other) for other in IMPORTS[module]} <= {"diffusion", "distillation"}
        assert not IMPORTS[module] & {"diffusion.denoiser", "diffusion.sampling", "diffusion.guidance"}


def test_nothing_but_the_report_draws():
    assert not [
        name for name in MODULES if room_of(name) != "report" and any("report.figures" in o for o in IMPORTS[name])
    ]
