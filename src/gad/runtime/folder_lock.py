"""Folders that hold the work of one cache key alone."""

from pathlib import Path

from gad.runtime.atomic import atomic_write_path, linked_folder, remove_folder


def lock_folder(folder: Path, cache_key: str) -> None:
    """Make ``folder`` hold the unfinished work of ``cache_key`` (a fingerprint) only: work of anyone else is thrown
    away.

    DVC keeps the old files of a persistent output even when its parameters or the code have changed.
    """
    mark = folder / "fingerprint.txt"
    if folder.exists() and not folder_is_locked_to(folder, cache_key):
        mark.unlink(missing_ok=True)  # first: whatever a kill leaves of the rest is nobody's work
        remove_folder(folder, keep_link=True)
    linked_folder(folder).mkdir(parents=True, exist_ok=True)
    if not mark.exists():
        lock_folder_to(folder, cache_key)


def lock_folder_to(folder: Path, cache_key: str) -> None:
    """Declare that what ``folder`` holds is the work of ``cache_key``, whatever it was said to be before."""
    with atomic_write_path(folder / "fingerprint.txt") as partial:
        partial.write_text(cache_key, encoding="utf-8")


def folder_is_locked_to(folder: Path, cache_key: str) -> bool:
    """Whether ``folder`` holds the work of ``cache_key``."""
    mark = folder / "fingerprint.txt"
    return mark.exists() and mark.read_text(encoding="utf-8") == cache_key
