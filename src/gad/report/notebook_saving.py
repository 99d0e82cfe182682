"""Notebooks of this project saved by a Jupyter server as they are committed: without outputs.

A stage depends on its notebook, so outputs that were saved with it would run the stage of every recipe again. The
package installs ``etc/jupyter/jupyter_server_config.d/gad.json``, by which a server loads this module as an extension.
"""

from pathlib import Path
from typing import Any

from gad.runtime.paths import ROOT

NOTEBOOKS = ROOT / "notebooks"
CELL_STATE = ("cell.metadata.collapsed", "cell.metadata.execution", "cell.metadata.jupyter", "cell.metadata.scrolled",
              "cell.metadata.ExecuteTime", "cell.metadata.trusted", "metadata.widgets")  # fmt: skip
METADATA = {  # the same whichever kernel and version of Python a notebook was run with
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def strip_notebook(content: dict) -> dict:
    """A notebook of format 4 as it is committed: nbstripout's, and none of what a kernel or a browser leaves in it.

    Outputs, counts and the state of the view are gone, cells are numbered; sources, tags and all else stay.
    """
    import nbformat  # here, since only a server asks for both
    from nbstripout import strip_output

    node = nbformat.from_dict(content)
    node = strip_output(node, keep_output=False, keep_count=False, keep_id=False, extra_keys=list(CELL_STATE))
    node.metadata |= nbformat.from_dict(METADATA)
    return node


def strip_when_saved(model: dict, path: str, contents_manager: Any, **_: object) -> None:
    """Strip a notebook of the project's folder ``notebooks`` before it is written; a contents manager's hook.

    ``model`` is what is to be saved, ``path`` its place below the server's folder. Notebooks elsewhere, and files that
    are none, stay as they are.
    """
    if model["type"] != "notebook" or model["content"]["nbformat"] != 4:
        return
    if Path(contents_manager.root_dir, path.strip("/")).resolve().parent == NOTEBOOKS:
        model["content"] = strip_notebook(model["content"])


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(server: Any) -> None:
    """Called by a Jupyter server as it starts; a hook of the user's own runs as well."""
    server.contents_manager.register_pre_save_hook(strip_when_saved)
