"""Processes of a script that train or evaluate together, as a launcher starts them.

``launch`` is the launcher itself. ``fork`` starts processes with the environment that a launcher gives them from a
server that has imported the package, once for all tests of a session: each is ready at once, and as fresh.
"""

import os
import socket
import subprocess
import sys
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path

PROCESSES = "processes"  # group of the tests that ask the server: one worker of pytest-xdist starts it
CAPTIONS = "captions"  # group of the tests that ask for what the evaluators have seen: seconds, once a worker
SERVER = get_context("forkserver")
IMPORTED = ["gad.data.pair_generation", "gad.distillation.train_students", "gad.evaluation.control.tasks"]


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


def fork(script: str, root: Path, *arguments, processes: int = 2) -> subprocess.CompletedProcess:
    """``launch`` without its imports; when a process dies or fails, the others are killed, as a launcher does it."""
    SERVER.set_forkserver_preload(IMPORTED)
    argv, port = ["script.py", str(root), *map(str, arguments)], free_port()
    logs = [root / f"process_{rank}" for rank in range(processes)]
    workers = [
        SERVER.Process(target=_work, args=(script, argv, logs[rank], rank, processes, port))
        for rank in range(processes)
    ]
    for worker in workers:
        worker.start()
    running = {worker.sentinel: worker for worker in workers}
    while running:
        ended = [running.pop(sentinel) for sentinel in wait(list(running), timeout=600)]
        if not ended or any(worker.exitcode for worker in ended):
            for worker in running.values():
                worker.kill()
    for worker in workers:
        worker.join()
    out, err = ("".join(log.with_suffix(suffix).read_text() for log in logs) for suffix in (".out", ".err"))
    code = next((worker.exitcode for worker in workers if worker.exitcode), 0)
    return subprocess.CompletedProcess(argv, code, out, err)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def _work(script: str, argv: list[str], log: Path, rank: int, processes: int, port: int) -> None:
    """Run the script in this process, which a server has just forked."""
    for descriptor, suffix in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(log.with_suffix(suffix), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
    if processes > 1:
        os.environ |= {name: str(value) for name, value in places.items()}
        os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    os.environ |= {"ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    sys.argv = argv
    exec(compile(script, argv[0], "exec"), {"__name__": "__main__"})
