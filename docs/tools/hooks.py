"""What MkDocs asks of this project while it builds the site: pages made from code and results, equations, checks."""

import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File

TOOLS = Path(__file__).resolve().parent
ROOT = TOOLS.parents[1]
sys.path[:0] = [str(TOOLS), str(ROOT / "src")]

import command_pages
import links
import mathml
import numbers_quoted
import recipe_pages
import report_pages

ROOMS = "runtime diffusion config models data metrics distillation evaluation report preflight".split()
INCLUDED = {"log.md": "LOG.md", "changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}
FIGURE = re.compile(r"^!\[([^\]]*)\]\(((?:\.\./)*figures/[\w-]+)-light\.svg\)$", re.M)
_made: list[TemporaryDirectory] = []


@event_priority(100)  # before mkdocs-jupyter looks for notebooks
def on_files(files, config):
    """Add the pages that are made from code, notebooks, results and reports."""
    pages = {
        "reference/recipe.md": recipe_pages.recipe_page(),
        "reference/commands.md": command_pages.commands_page(),
        "reports/index.md": report_pages.reports_page(),
    }
    pages |= {f"reference/code/{room}.md": f"# {room}\n\n::: gad.{room}\n" for room in ROOMS}
    pages |= {page: links.for_the_site((ROOT / source).read_text(), page) for page, source in INCLUDED.items()}
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    folder = TemporaryDirectory()
    _made.append(folder)
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        copy = Path(folder.name) / "notebooks" / notebook.name
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(mathml.notebook_with_mathml(notebook))
        files.append(File(f"notebooks/{notebook.name}", folder.name, config.site_dir, config.use_directory_urls))
    for source, path in report_pages.report_files():
        if known := files.get_file_from_path(path):  # an example, as it is committed
            files.remove(known)
        files.append(File.generated(config, path, content=source))
    return files


def on_page_markdown(markdown, page, config, files):
    """Tables from results/, figures for light and dark, and the check of the numbers that a page quotes."""
    try:
        markdown = numbers_quoted.with_tables(markdown)
        numbers_quoted.check(markdown, page.file.src_uri)
    except (ValueError, KeyError) as error:
        raise PluginError(f"{page.file.src_uri}: {error}") from error
    pair = r"![\1](\2-light.svg#only-light)![\1](\2-dark.svg#only-dark)"
    return FIGURE.sub(pair, markdown)


def on_page_content(html, page, config, files):
    """Equations as MathML, which the browser draws itself."""
    return mathml.with_mathml(html)


@event_priority(-200)  # when everything is written
def on_post_build(config):
    """Refuse a site with a dead link or with anything that it would load from a network."""
    faults = links.faults_of(Path(config.site_dir))
    if faults:
        raise PluginError("\n".join(faults[:40]))
    for folder in _made:
        folder.cleanup()
    _made.clear()
