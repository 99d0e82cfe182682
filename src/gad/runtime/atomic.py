"""Files and folders that appear and go whole, whatever happens meanwhile: a kill, a full disk, a machine that is gone.

What is written lies under a temporary name until it is on the disk; then it is renamed. What is removed gets such a
name first. So a path is there with all its content, or not at all.
"""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REASONS = {  # why a path cannot be written, and what to do
    errno.ENOSPC: "the disk is full; free some space and start again",
    errno.EDQUOT: "the disk quota is used up; free some space and start again",
    errno.EFBIG: "the file is larger than the limit of this shell; raise it with ulimit -f and start again",
    errno.EROFS: "the file system is read-only; mount it writable and start again",
    errno.EACCES: "permission denied; make the folder writable and start again",
    errno.EPERM: "permission denied; make the folder writable and start again",
    errno.EIO: "the disk does not take it; check its space, quota and health and start again",
}
FULL = 64 * 1024  # bytes free at most on a disk on which a library's write has failed without a reason


class WriteError(OSError):
    """Why a path was not written, in one line."""

    def __str__(self) -> str:
        return str(self.strerror)


@contextmanager
def atomic_write_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``; it takes the place of ``path`` when the block ends without an error.

    A link to a folder stays: the folder that it leads to is replaced, on its own disk. A link to a file goes: DVC makes
    such links into its cache, whose files must not change. Raises WriteError, in one line, where the disk is full,
    read-only or broken. ``path`` is as it was then.
    """
    path = linked_folder(Path(path)) if Path(path).is_dir() else Path(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(partial)
        yield partial
        _sync(partial)
        if partial.is_dir():
            remove_folder(path)
        os.replace(partial, path)
        _sync_entry(path.parent)
    except Exception as error:
        reason = _write_fault(error, path.parent)
        if reason is None:
            raise
        number, what = reason
        raise WriteError(number, f"cannot write {path}: {what}") from error
    finally:
        _remove(partial, missing_parent=True)


def linked_folder(path: Path) -> Path:
    """Where a link leads that stands for a folder, which need not be there yet; any other path itself."""
    return path.resolve() if path.is_symlink() else path


def remove_folder(path: Path, *, keep_link: bool = False) -> None:
    """Remove a folder or file so that a kill never leaves half of it; one that is not there is no fault.

    Where it is a link its target is emptied, on whichever disk, and with ``keep_link`` the link stays. Raises OSError
    where the system does not allow it.
    """
    if path.is_symlink():
        for inside in list(path.iterdir()) if path.is_dir() else []:
            remove_folder(inside)
        if not keep_link:
            path.unlink()
    elif path.is_dir():
        gone = path.with_name(f".{path.name}.removed.partial")
        _remove(gone)
        os.replace(path, gone)
        _remove(gone)
    else:
        path.unlink(missing_ok=True)


def _remove(path: Path, *, missing_parent: bool = False) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError:
        if not missing_parent:  # else a fault is being told already, of which this is the consequence
            raise


def _sync(path: Path) -> None:
    """Have a file, or all files of a folder, on the disk: a machine that stops would leave empty ones otherwise."""
    for file in [path] if path.is_file() else [inside for inside in path.rglob("*") if inside.is_file()]:
        with open(file, "rb") as opened:
            os.fsync(opened.fileno())


def _sync_entry(folder: Path) -> None:
    """Have the names in a folder on the disk, where the file system lets a folder be opened for that."""
    try:
        opened = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(opened)
    except OSError:
        pass
    finally:
        os.close(opened)


def _write_fault(error: Exception, folder: Path) -> tuple[int, str] | None:
    """The number and reason of a fault of the disk; None for any other error. Libraries raise some as other types."""
    if isinstance(error, WriteError) or not _is_about(error, folder):
        return None
    if isinstance(error, OSError) and error.errno in REASONS:
        return error.errno, REASONS[error.errno]
    told = re.search(r"os error (\d+)\)", str(error))  # safetensors
    if told and int(told[1]) in REASONS:
        return int(told[1]), REASONS[int(told[1])]
    if "inline_container" in str(error):  # torch.save does not say why
        number = errno.ENOSPC if _free(folder) <= FULL else errno.EIO
        return number, REASONS[number]
    return None


def _is_about(error: Exception, folder: Path) -> bool:
    """Whether an error names no file, or one in the folder: while a path is written others are read."""
    named = getattr(error, "filename", None)
    return named is None or Path(os.fsdecode(named)).absolute().is_relative_to(folder.absolute())


def _free(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0
