"""The arrows between modules point one way."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "gad"
LAYERS = [  # a module imports from its own layer or from earlier ones
    {"shapes", "schedule"},
    {"models", "response", "noise", "singular"},
    {"noise_pairs", "sampling"},
    {"losses"},
    {"objectives"},
    {"training"},
]
RANK = {module: rank for rank, layer in enumerate(LAYERS) for module in layer}


def imports() -> list[tuple[str, str]]:
    """(importing, imported) modules inside gad, by their dotted names without ``gad.``."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        importer = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{importer} uses a relative import"
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            found += [(importer, name.removeprefix("gad.")) for name in names if name.startswith("gad.")]
    return found


def top(module: str) -> str:
    return module.split(".")[0]


def test_imports_are_found():
    assert ("schedule", "shapes.Latent") in imports()


def test_arrows_point_one_way():
    ranked = [(a, b) for a, b in imports() if top(a) in RANK and top(b) in RANK]
    assert [(a, b) for a, b in ranked if RANK[top(a)] < RANK[top(b)]] == []


@pytest.mark.parametrize("networks", ["models", "teachers", "sampling", "training"])
def test_losses_know_no_model(networks):
    assert [(a, b) for a, b in imports() if top(a) == "losses" and top(b) == networks] == []


def test_nothing_imports_figures():
    assert [(a, b) for a, b in imports() if top(b) == "figures" and top(a) != "figures"] == []
