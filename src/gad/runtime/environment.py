"""The environment of the processes that run stages: the interpreter's folder first, compiled modules kept."""

import os
import sys
from pathlib import Path

NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"


def stage_environment() -> dict[str, str]:
    """This process's environment with its interpreter's folder first on the PATH, and with compiled modules kept."""
    path = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    others = {name: value for name, value in os.environ.items() if name != NO_BYTECODE}
    return others | {"PATH": os.pathsep.join(path)}


def keep_bytecode_in_environment() -> None:
    """Let this process and those it starts write compiled modules, whatever the environment says.

    Container images often forbid it; then every stage compiles torch and the rest anew, which doubles its time.
    """
    os.environ.pop(NO_BYTECODE, None)
    sys.dont_write_bytecode = False
