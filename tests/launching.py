"""Two processes of a script, as a launcher starts them."""

import os
import subprocess
import sys
from pathlib import Path


def launch(script: str, root: Path, *arguments) -> subprocess.CompletedProcess:
    """Two CPU processes of ``script``, which is given ``root`` and the arguments."""
    (root / "script.py").write_text(script)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [str(root / "script.py"), str(root), *map(str, arguments)]
    environment = os.environ | {
        "ACCELERATE_USE_CPU": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
