"""A lock of a stage: two runs of it at once would write the same files.

The operating system holds it for the process and lets it go when that ends, however it ends; so no lock of a dead
process is left, and no clock is asked. Where disks are shared but their locks are not, the owner's entry changes every
few seconds as long as it is alive; an entry that stands still is taken over.
"""

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

BEAT = 2.0  # seconds between two changes of an owner's entry
WATCHED = 4 * BEAT  # seconds in which an owner on another machine has to change it


class StageLockedError(ValueError):
    """Who else is at work, in one line."""


@contextmanager
def stage_lock(path: Path, what: str) -> Iterator[None]:
    """Hold the lock at ``path`` for ``what`` is being done. Raises StageLockedError, in one line, where a living
    process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+") as file:
        _acquire(file, path, what)
        stopped = threading.Event()
        beats = threading.Thread(target=_beat, args=(file, what, stopped), daemon=True)
        beats.start()
        try:
            yield
        finally:
            stopped.set()
            beats.join()
            _write_entry(file, "")


def _acquire(file: IO[str], path: Path, what: str) -> None:
    owner = _entry(path)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StageLockedError(_held(what, owner)) from None
    except OSError:
        pass  # a file system without locks: the entry alone tells
    here = owner.get("host") == socket.gethostname()
    if owner and not here:
        if _changes(path):
            raise StageLockedError(_held(what, owner))
        print(f"took over the lock of {what}: process {owner.get('pid')} on {owner.get('host')} is gone", flush=True)


def _held(what: str, owner: dict) -> str:
    who = f"process {owner['pid']} on {owner['host']}" if owner else "another process"
    return f"{what} is being run by {who}; wait for it, or end it and start again"


def _changes(path: Path) -> bool:
    """Whether an owner somewhere else is alive."""
    before, end = _entry(path), time.monotonic() + WATCHED
    while time.monotonic() < end:
        time.sleep(BEAT / 4)
        if _entry(path) != before:
            return True
    return False


def _entry(path: Path) -> dict:
    """The owner as it stands in a lock; empty for none, or one whose entry is being written."""
    try:
        owner = json.loads(path.read_text() or "{}")
        return owner if {"pid", "host"} <= owner.keys() else {}
    except (OSError, ValueError, AttributeError):
        return {}


def _beat(file: IO[str], what: str, stopped: threading.Event) -> None:
    count = 0
    while True:
        _write_entry(file, json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "what": what, "beat": count}))
        count += 1
        if stopped.wait(BEAT):
            return


def _write_entry(file: IO[str], text: str) -> None:
    """Replace what the lock's file holds; a full disk keeps nobody from working."""
    try:
        file.seek(0)
        file.truncate()
        file.write(text)
        file.flush()
    except OSError:
        pass
