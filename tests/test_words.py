"""What people read is in the field's words: pages, notebooks, recipes, labels and messages."""

import ast
import json
import re
from pathlib import Path

import pytest

from gad.runtime.paths import ROOT

COINED = (  # what once stood here, with the field's word for it
    (r"answer(s|ed|ing)?", "output, prediction, sample"),
    (r"whole maps?", "noise-to-image map"),
    (r"(walks? its|sampling|teacher's|student's|whole) chain|chains? of|chain's", "sampling trajectory"),
    (r"nodes?(?!\.js)", "student timestep"),
    (
        r"seeds? (told|found back)|told (as the teacher's|from|apart|nothing)|told noise|noise (that was|was) told",
        "accuracy",
    ),
    (r"modes seen", "mode coverage"),
    (r"right nouns?|noun right|colou?r right", "object accuracy, colour accuracy"),
    (r"worlds?", "dataset"),
    (r"judges?|judged|judgement", "evaluator, metric model"),
    (r"actors?|everyone", "sampler, models"),
    (r"(models|students) from elsewhere|from outside|outside students?", "external models"),
    (r"sisters?|sister propert(y|ies)", "negative prompting, inversion"),
    (r"single calls", "per noise level"),
    (r"further noises", "independent noises"),
    (r"dealt out", "distributed over processes"),
    (r"pulls on|a pull|GAD pulls|levers?|gates?", "loss term, time window, options"),
    (r"hangs? on|so-manieth|in place of", "depends on, every n-th, instead of"),
    (r"clocked|borrow(s|ed)?|watch(ed|es)", "timed, external dependency, monitored"),
    (r"smallest visible( difference)?", "minimum detectable effect"),
    (r"before training|where (the )?students start", "at initialisation"),
    (r"half as many steps more", "1.5x training (equal compute)"),
    (r"authors' (script|code)|the script", "released code"),
    (r"clear of 0|clear after Holm|not clearly", "significant at 95 %"),
    (r"tables? (says?|tells?|asks?)", "the table shows"),
    (r"points in the plane|the roll", "2-D, Swiss roll"),
    (r"pictures?", "images"),
    (r"kept (mean|low|high|n)|shares kept", "retained gain"),
)
WORDS = re.compile("|".join(rf"(?<![\w'@./-])(?:{coined})(?![\w-])" for coined, _ in COINED), re.IGNORECASE)
RIGHT = (  # where a coined word is right
    r"git lfs pull",
    r"<picture>",  # HTML
    r"first node's",  # of a cluster
    r"'?teacher\.world'?",  # older keys, which recipes are refused with
    r"'?sensitivity\.sister'?",
)
SITE = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))
PAGES = ("README.md", "RESULTS.md", "CONTRIBUTING.md", "CHANGELOG.md", "pipelines/ablations.yaml", "params.yaml", *SITE)
MARKDOWN = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "docs/**/*.md", "data/sprites/*.md", "data/*/published/*/*.md")
    for path in ROOT.glob(pattern)
)
RECIPES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "pipelines" / "recipes").glob("*.yaml"))
NOTEBOOKS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "notebooks").glob("*.ipynb"))
CODE = sorted(str(path.relative_to(ROOT)) for room in ("src/gad", "pipelines") for path in (ROOT / room).rglob("*.py"))
SHOWN = {"ValueError", "StageError", "RecipeError", "FloatingPointError", "RuntimeError", "print", "warn", "Finding"}
LABELS = "src/gad/report/"


def coined(line: str) -> list[str]:
    """The coined words of a line."""
    return [found[0] for found in WORDS.finditer(re.sub("|".join(RIGHT), "", line))]


def faults(lines, place: str) -> list[str]:
    """A line ``place:number: words`` for each line that has coined words; ``lines`` are numbers and texts."""
    return [f"{place}:{number}: {', '.join(words)}" for number, line in lines if (words := coined(line))]


def shown_strings(source: str, everything: bool):
    """Number and text of the strings that people see: all but docstrings, or those of errors, warnings and findings."""
    tree = ast.parse(source)
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    named = [tree] if everything else [c for c in calls if getattr(c.func, "attr", getattr(c.func, "id", "")) in SHOWN]
    for node in (part for whole in named for part in ast.walk(whole)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value


def lines_of(path: Path):
    """Number of the cell and text of each line of a notebook's prose and code."""
    for number, cell in enumerate(json.loads(path.read_text())["cells"]):
        yield from ((number, line) for line in "".join(cell["source"]).splitlines())


@pytest.mark.parametrize("name", [*PAGES, *RECIPES])
def test_pages_and_recipes_use_the_fields_words(name):
    assert not faults(enumerate((ROOT / name).read_text().splitlines(), 1), name)


@pytest.mark.parametrize("name", MARKDOWN)
def test_no_line_of_a_page_is_over_120_characters(name):
    long = [number for number, line in enumerate((ROOT / name).read_text().splitlines(), 1) if len(line) > 120]
    assert not long, f"{name}: lines {long}"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_use_the_fields_words(name):
    assert not faults(lines_of(ROOT / name), name)


@pytest.mark.parametrize("name", CODE)
def test_labels_and_messages_use_the_fields_words(name):
    source = (ROOT / name).read_text()
    assert not faults(shown_strings(source, everything=name.startswith(LABELS)), name)


def test_columns_of_committed_tables_use_the_fields_words():
    tables = sorted((ROOT / "results" / "ablations").glob("*.csv"))
    heads = ((1, path.read_text().partition("\n")[0]) for path in tables)
    assert tables and not faults(heads, "results/ablations")


@pytest.mark.parametrize("line", ["seeds told apart", "An answer", "the teacher's chain", "a judge", "clear of 0"])
def test_a_coined_word_is_found(line):
    assert coined(line)


@pytest.mark.parametrize("line", ["the chain rule", "nodejs", "a network that keeps its weights", "params.yaml"])
def test_the_fields_own_words_pass(line):
    assert not coined(line)
