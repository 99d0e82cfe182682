"""A stage of a tree as processes that can be killed: its runner, its kernel, and what they have started."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

KINDS = {
    "machine": None,  # every process at once
    "runner": ("runner", signal.SIGKILL),
    "kernel": ("kernel", signal.SIGKILL),
    "term": ("runner", signal.SIGTERM),
    "interrupt": ("group", signal.SIGINT),
}
ENDS = 60.0  # seconds in which all processes have to end after a kill
POLL = 0.02  # seconds


class StageProcess:
    """A stage that runs. ``seconds`` it took to its end; ``outlived`` names processes that had to be ended by force."""

    def __init__(self, tree: Path, stage: str, recipe: str):
        words = [*stage.split(), "--recipe", recipe]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self.out = tempfile.TemporaryFile("w+")
        self.start = time.monotonic()
        self.runner = psutil.Popen(
            [sys.executable, str(tree / "pipelines" / "run_stage.py"), *words],
            cwd=tree,
            env=environment | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=self.out,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.seconds, self.outlived = 0.0, []

    def wait(self) -> int:
        """The exit status."""
        status = self.runner.wait()
        self.seconds = time.monotonic() - self.start
        return status

    def told(self) -> str:
        """What the runner said at last, to standard error."""
        self.out.seek(0)
        lines = [
            line for line in self.out.read().replace("\r", "\n").splitlines() if line.strip() and "it/s" not in line
        ]
        return " | ".join(lines[-4:])[-600:]

    def kill_at(self, moment: float, kind: tuple | None) -> bool:
        """Kill that many seconds after the start, a kernel as soon as there is one; whether that ended it."""
        while time.monotonic() - self.start < moment or (kind and kind[0] == "kernel" and not self._kernel()):
            if self.runner.poll() is not None:
                self.wait()
                return False
            time.sleep(POLL)
        started = self._all()
        self._kill(kind, started)
        ended_well = self.runner.wait() == 0
        self.seconds = time.monotonic() - self.start
        self._expect_end(started)
        return not ended_well

    def _kill(self, kind: tuple | None, started: list[psutil.Process]) -> None:
        if kind is None:
            for name in ("suspend", "kill"):  # stopped first, so that none sees another one die
                for process in started:
                    _quietly(process, name)
        elif kind[0] == "group":
            os.killpg(self.runner.pid, kind[1])
        else:
            target = self._kernel() if kind[0] == "kernel" else self.runner
            _quietly(target or self.runner, "send_signal", kind[1])

    def _all(self) -> list[psutil.Process]:
        try:
            return [self.runner, *self.runner.children(recursive=True)]
        except psutil.NoSuchProcess:
            return [self.runner]

    def _kernel(self) -> psutil.Process | None:
        for process in self._all()[1:]:
            try:
                if any("ipykernel" in word for word in process.cmdline()):
                    return process
            except psutil.NoSuchProcess:
                pass
        return None

    def _expect_end(self, started: list[psutil.Process]) -> None:
        """Wait until all have ended; those that do not are named and killed."""
        for process in psutil.wait_procs(started, timeout=ENDS)[1]:
            self.outlived.append(" ".join(process.cmdline())[-80:])
            _quietly(process, "kill")


def _quietly(process: psutil.Process, name: str, *arguments) -> None:
    try:
        getattr(process, name)(*arguments)
    except psutil.NoSuchProcess:
        pass
