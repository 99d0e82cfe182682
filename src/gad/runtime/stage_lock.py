"""Locks of stages: two runs of one at once would write the same files, and none shall read what another writes.

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
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

BEAT = 2.0  # seconds between two changes of an owner's entry
WATCHED = 4 * BEAT  # seconds in which an owner on another machine has to change it
WIDTH = 512  # characters of an entry, filled with spaces


class StageLockedError(ValueError):
    """Who else is at work, in one line."""


@contextmanager
def stage_locks(folder: Path, stage: str, inputs: Iterable[str]) -> Iterator[None]:
    """Hold the lock of a stage as its writer, and those of its inputs as one of their readers. ``folder`` holds the
    locks of a recipe.

    Raises StageLockedError, in one line, where a living process stands in the way.
    """
    with ExitStack() as held:
        held.enter_context(_writing(folder / f"{stage}.lock", stage))
        for name in inputs:
            held.enter_context(_locked(folder / f"{name}.lock", name, fcntl.LOCK_SH))
        yield


@contextmanager
def _locked(path: Path, what: str, kind: int) -> Iterator[IO[str]]:
    """The lock's file, held as one of its readers (``LOCK_SH``) or its only writer (``LOCK_EX``)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+", encoding="utf-8") as file:
        _acquire(file, path, what, kind)
        yield file


@contextmanager
def _writing(path: Path, what: str) -> Iterator[None]:
    with _locked(path, what, fcntl.LOCK_EX) as file:
        stopped, entry = threading.Event(), {"pid": os.getpid(), "host": socket.gethostname(), "what": what}
        beats = threading.Thread(target=_beat, args=(file, entry, stopped), daemon=True)
        beats.start()
        try:
            yield
        finally:
            stopped.set()
            beats.join()
            _write_entry(file, "")


def _acquire(file: IO[str], path: Path, what: str, kind: int) -> None:
    owner, known = _entry(path), True
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StageLockedError(_held(what, owner)) from None
    except OSError:
        known = False  # a file system without locks: the entry alone tells
    if owner and not (known and owner["host"] == socket.gethostname()):
        if _changes(path):
            raise StageLockedError(_held(what, owner))
        print(f"took over the lock of {what}: process {owner['pid']} on {owner['host']} is gone", flush=True)


def _held(what: str, owner: dict) -> str:
    who = (
        f"being run by process {owner['pid']} on {owner['host']}" if owner else "in use by another stage that reads it"
    )
    return f"{what} is {who}; wait for it, or end it and start again"


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
        owner = json.loads(path.read_text(encoding="utf-8") or "{}")
        return owner if {"pid", "host"} <= owner.keys() else {}
    except (OSError, ValueError, AttributeError):
        return {}


def _beat(file: IO[str], entry: dict, stopped: threading.Event) -> None:
    count = 0
    while True:
        _write_entry(file, json.dumps(entry | {"beat": count}))
        count += 1
        if stopped.wait(BEAT):
            return


def _write_entry(file: IO[str], text: str) -> None:
    """Replace what the lock's file holds, in one write: who reads meanwhile finds an entry, not an empty file. A full
    disk keeps nobody from working."""
    try:
        os.pwrite(file.fileno(), text.ljust(WIDTH).encode(), 0)
    except OSError:
        pass
