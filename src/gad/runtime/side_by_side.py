"""Work on several items side by side, each in a process of its own; what it yields comes as it is made.

A process is started afresh. A fork would inherit the locks and thread pools of libraries, and a GPU that no fork may
use; multiprocessing's spawn runs the caller's script once more, and finds none in a notebook.
"""

import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from signal import Signals
from typing import Any

import torch

from gad.runtime.atomic import atomic_write_path


def side_by_side(
    work: Callable[[Any], Iterable], items: Iterable, workers: int, *, job: Path, name: str = "item"
) -> Iterator[tuple[Any, Any]]:
    """Yield (item, value) for every value of ``work(item)``; values of one item stay in order.

    ``work`` is handed over in the file ``job``, whose tensors the processes share; they use as many threads as this
    one. What ``work`` raises is raised here; ChildProcessError, in one line, for a process that was killed. However
    this ends, and be it by a kill, no process goes on.
    """
    waiting = deque(items)
    crew: dict[Connection, _Worker] = {}
    with atomic_write_path(job) as partial:
        torch.save((work, torch.get_num_threads()), partial)
    try:
        for _ in range(min(workers, len(waiting))):
            worker = _Worker(job, name)
            crew[worker.connection] = worker
            worker.begin(waiting.popleft())
        while crew:
            for connection in wait(list(crew)):
                assert isinstance(connection, Connection)
                worker = crew[connection]
                kind, value = worker.receive()
                if kind == "value":
                    yield worker.item, value
                elif kind == "error":
                    raise value
                elif waiting:
                    worker.begin(waiting.popleft())
                else:
                    crew.pop(connection).stop()
    finally:
        for worker in crew.values():
            worker.stop()
        job.unlink(missing_ok=True)


class _Worker:
    """A process at work on one item at a time."""

    def __init__(self, job: Path, name: str):
        self.connection, theirs = Pipe()
        self.name, self.item = name, None
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gad.runtime.side_by_side", str(job), str(theirs.fileno())],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.PIPE,  # its end tells the process that this one has gone, however it went
                pass_fds=[theirs.fileno()],
                process_group=0,  # a Ctrl-C in the terminal is for this process, which stops the others
            )

    def begin(self, item: Any) -> None:
        self.item = item
        try:
            self.connection.send(item)
        except OSError:
            pass  # it has died: the next receive says so

    def receive(self) -> tuple[str, Any]:
        """The kind of a message ("value", "error" or "done") and what it carries."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            code = self.process.wait()
            how = f"was killed by {Signals(-code).name}" if code < 0 else f"ended with status {code}"
            hint = "start again to go on from its last checkpoint"
            raise ChildProcessError(f"the process of {self.name} {self.item} {how}; {hint}") from None

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.connection.close()


def _end_with_parent() -> None:
    """Leave at once when the parent has gone, in a thread: asking Linux to (PR_SET_PDEATHSIG) would bind the process to
    the parent's thread that started it, and other systems cannot."""

    def leave() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=leave, daemon=True).start()


def portable_error(error: Exception) -> Exception:
    """The error as it is raised in the parent; one that cannot be sent as a RuntimeError with its type's name."""
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")


def _serve(job: Path, connection: Connection) -> None:
    """Work on the items that come, until no more do."""
    work = None
    while True:
        item = connection.recv()
        try:
            if work is None:
                work, threads = torch.load(job, mmap=True, weights_only=False)
                torch.set_num_threads(threads)
            for value in work(item):
                connection.send(("value", value))
            connection.send(("done", None))
        except BrokenPipeError:  # the parent has gone
            return
        except Exception as error:
            connection.send(("error", portable_error(error)))


if __name__ == "__main__":
    _end_with_parent()
    _serve(Path(sys.argv[1]), Connection(int(sys.argv[2])))
