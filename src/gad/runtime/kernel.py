"""The notebook kernel of a stage: this environment's interpreter and nobody's settings, in a folder of its own."""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
LONGEST = 100  # letters of a socket's path; the system allows 107, macOS 103
SOCKET = "kernel"  # ZMQ adds -1 to -5
PLACES = ("/tmp", "/var/tmp", "/dev/shm")  # where TMPDIR is too long
OWN = (  # nothing of a user's profile or PYTHONSTARTUP is run before the notebook
    "--InteractiveShellApp.exec_PYTHONSTARTUP=False",
    "--InteractiveShellApp.exec_lines=[]",
    "--InteractiveShellApp.exec_files=[]",
    "--InteractiveShellApp.extensions=[]",
)


def socket_folder() -> tempfile.TemporaryDirectory:
    """A new folder whose path is short enough for sockets, in TMPDIR or else in another place for such folders.

    Raises ValueError, in one line, where none is.
    """
    for place in dict.fromkeys([tempfile.gettempdir(), *PLACES]):
        if len(f"{place}/gad-12345678/{SOCKET}-1") <= LONGEST and os.access(place, os.W_OK | os.X_OK):
            return tempfile.TemporaryDirectory(prefix="gad-", dir=place, ignore_cleanup_errors=True)
    fault = f"the temporary folder {tempfile.gettempdir()} has a path too long for sockets"
    raise ValueError(f"{fault}; set TMPDIR to one of at most {LONGEST - 25} letters")


@contextmanager
def stage_kernel() -> Iterator[dict]:
    """The settings under which papermill starts the kernel :data:`KERNEL`; inside the block Jupyter finds no other.

    No port is open on a shared machine, and in a folder of their own two kernels do not take each other's sockets.
    """
    with socket_folder() as folder:
        spec = Path(folder, "jupyter", "kernels", KERNEL["name"], "kernel.json")
        spec.parent.mkdir(parents=True)
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", *OWN]
        held = {"argv": command, "display_name": KERNEL["display_name"], "language": KERNEL["language"]}
        spec.write_text(json.dumps(held), encoding="utf-8")
        ours = {"JUPYTER_PATH": str(Path(folder, "jupyter")), "IPYTHONDIR": str(Path(folder, "ipython"))}
        theirs = {name: os.environ.get(name) for name in ours}
        os.environ.update(ours)
        files = {"ip": str(Path(folder, SOCKET)), "connection_file": str(Path(folder, "connection.json"))}
        try:
            yield {"KernelManager": {"transport": "ipc", **files}}
        finally:
            for name, value in theirs.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
