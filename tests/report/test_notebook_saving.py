"""A notebook that is saved from JupyterLab is the committed file, and its stage has nothing to do."""

import asyncio
import copy
import json
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import nbclient
import nbformat
import pytest
from jupyter_server.serverapp import ServerApp
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager

from gad.report import notebook_saving
from gad.report.notebook_saving import strip_notebook, strip_when_saved
from gad.runtime.paths import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}  # as JupyterLab writes it
LANGUAGE = {
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
    "version": "3.11.7",
}


@pytest.fixture
def manager(tmp_path, monkeypatch):
    """The contents manager of a server in a copy of the project, with the hook."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(notebook_saving, "NOTEBOOKS", (tmp_path / "notebooks").resolve())
    made = AsyncLargeFileManager(root_dir=str(tmp_path))
    made.register_pre_save_hook(strip_when_saved)
    return made


def as_run(content: dict) -> dict:
    """The content as JupyterLab holds it when all cells have run."""
    content = copy.deepcopy(content)
    for number, cell in enumerate(content["cells"], 1):
        cell["id"] = f"a1b2c3-{number}"
        if cell["cell_type"] == "code":
            text = {"output_type": "stream", "name": "stdout", "text": f"{number}\n"}
            result = {"output_type": "execute_result", "execution_count": number, "data": {"text/plain": "1"}}
            cell |= {"execution_count": number, "outputs": [text, result | {"metadata": {}}]}
            cell["metadata"] |= {"execution": {"iopub.status.busy": "2026-01-01T00:00:00Z"}, "scrolled": True}
            cell["metadata"] |= {"jupyter": {"outputs_hidden": True}, "trusted": True, "collapsed": False}
    content["metadata"] |= {"kernelspec": KERNEL, "language_info": LANGUAGE, "widgets": {"state": {}}}
    return content


def save(manager, path: str, content: dict) -> None:
    asyncio.run(manager.save({"type": "notebook", "format": "json", "content": content}, path))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_saved_after_it_ran_is_the_committed_file_byte_for_byte(manager, tmp_path, notebook):
    copied = tmp_path / "notebooks" / notebook.name
    copied.write_bytes(notebook.read_bytes())
    content = asyncio.run(manager.get(f"notebooks/{notebook.name}"))["content"]
    save(manager, f"notebooks/{notebook.name}", as_run(content))
    assert copied.read_bytes() == notebook.read_bytes()


def test_a_notebook_that_a_kernel_really_ran_is_saved_as_it_was(manager, tmp_path):
    node = nbformat.v4.new_notebook(metadata=notebook_saving.METADATA)
    node.cells = [nbformat.v4.new_markdown_cell("# Öne", id="0"), nbformat.v4.new_code_cell("6 * 7", id="1")]
    path = tmp_path / "notebooks" / "a.ipynb"
    nbformat.write(node, path)
    before = path.read_bytes()
    content = asyncio.run(manager.get("notebooks/a.ipynb"))["content"]
    ran = nbclient.NotebookClient(nbformat.from_dict(content), timeout=60).execute()
    assert "42" in str(ran.cells[1].outputs) and ran.cells[1].execution_count == 1
    save(manager, "notebooks/a.ipynb", ran)
    assert path.read_bytes() == before


def test_a_changed_source_is_saved_and_a_tag_stays(manager, tmp_path):
    content = json.loads(NOTEBOOKS[0].read_text())
    content["cells"][1]["source"] = "seed: int = 1"
    save(manager, "notebooks/b.ipynb", as_run(content))
    saved = json.loads((tmp_path / "notebooks" / "b.ipynb").read_text())
    assert saved["cells"][1]["source"] == ["seed: int = 1"]
    assert saved["cells"][1]["metadata"] == {"tags": ["parameters"]}


def test_notebooks_elsewhere_keep_their_outputs(manager, tmp_path):
    (tmp_path / "mine").mkdir()
    content = as_run(json.loads(NOTEBOOKS[0].read_text()))
    for path in ("mine/a.ipynb", "a.ipynb"):
        save(manager, path, content)
        assert json.loads((tmp_path / path).read_text())["cells"][1]["outputs"]


def test_a_file_that_is_no_notebook_is_saved_as_it_is(manager, tmp_path):
    asyncio.run(manager.save({"type": "file", "format": "text", "content": "x = 1"}, "notebooks/a.py"))
    assert (tmp_path / "notebooks" / "a.py").read_text() == "x = 1"


def test_what_is_stripped_once_stays_as_it_is():
    content = json.loads(NOTEBOOKS[0].read_text())
    once = strip_notebook(as_run(content))
    assert strip_notebook(copy.deepcopy(once)) == once


def test_a_server_that_finds_the_installed_configuration_has_the_hook(tmp_path, monkeypatch):
    """The file lies where the package installs it; the server is a real one that does not listen."""
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", str(ROOT / "etc" / "jupyter"))
    for name in ("CONFIG", "DATA", "RUNTIME"):
        monkeypatch.setenv(f"JUPYTER_{name}_DIR", str(tmp_path / name))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}  # a server sets its own
    server = ServerApp(open_browser=False, port=0)
    server.initialize(argv=["--ServerApp.root_dir", str(ROOT)], new_httpserver=False)
    try:
        assert "gad.report.notebook_saving" in server.jpserver_extensions
        assert strip_when_saved in server.contents_manager._pre_save_hooks
    finally:
        ServerApp.clear_instance()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_the_package_installs_the_configuration():
    installed = {"etc/jupyter/jupyter_server_config.d": ["etc/jupyter/jupyter_server_config.d/gad.json"]}
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["data-files"]
    assert declared == installed and all(Path(ROOT, name).exists() for name in installed.popitem()[1])


def test_an_editable_install_is_told_of_the_configuration(monkeypatch):
    """setuptools asks for `has_data`; without an answer it leaves the file out."""
    pytest.importorskip("setuptools")
    monkeypatch.chdir(ROOT)
    asked = "import setuptools; from distutils.core import run_setup; "
    asked += "found = run_setup('setup.py', stop_after='commandline'); print(found.has_data(), found.data_files)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("True") and "gad.json" in done.stdout
