"""How DVC is called: with the interpreter that runs this, which is a stage's ``python`` as well."""

import os
import sys
from pathlib import Path


def dvc_command(*arguments: str) -> list[str]:
    """The command line of DVC with these arguments."""
    return [sys.executable, "-m", "dvc", *arguments]


def stage_environment() -> dict[str, str]:
    """This process's environment with its interpreter's folder first on the PATH."""
    path = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    return os.environ | {"PATH": os.pathsep.join(path)}
