"""Files that are either whole or not there: a temporary name, fsync, rename, fsync of the folder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from k9ops.errors import DiskFull, TransientError

FILE_MODE = 0o600
FOLDER_MODE = 0o700
BUSY_MESSAGE = "This file is being written by another process."


def open_folder(folder: Path) -> Path:
    """Make a folder for its owner alone, if it is missing, and return its absolute path."""
    folder = folder.absolute()
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    return folder


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, content: bytes) -> None:
    """Write a small file whole, or leave what was there before."""
    temporary = path.with_name(f".{path.name}.partial")
    with disk_errors(), open_partial(temporary) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        temporary.rename(path)
    fsync_folder(path.parent)


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """Turn a full disk or quota into `DiskFull`."""
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull("The disk is full: the file could not be written.", error=str(exc)) from exc
        raise


@contextlib.contextmanager
def open_partial(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that only this process may write; remove it unless it was renamed meanwhile.

    The lock belongs to the process, not to the name: after a crash it is free, and `remove_abandoned` may
    take the file away.

    Raises:
        TransientError: Another process writes the same file.
    """
    file = _lock_by_name(path)
    try:
        yield file
    finally:
        with contextlib.suppress(FileNotFoundError):
            if _is_same_file(file, path):
                path.unlink()
        with disk_errors():
            file.close()


def is_being_written(path: Path) -> bool:
    """Tell whether the writer of a file still holds it, under whatever name it began."""
    try:
        with path.open("rb") as file:
            return not _try_lock(file)
    except FileNotFoundError:
        return False


def remove_abandoned(path: Path) -> bool:
    """Remove a partial file whose writer is gone; leave one that is being written.

    Returns:
        Whether it was removed.
    """
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False  # gone, another user's, or no file
    with os.fdopen(descriptor, "r+b") as file:
        if not _try_lock(file) or not _is_same_file(file, path):
            return False
        path.unlink()
        return True


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of an existing file; waits for another holder.

    Raises:
        FileNotFoundError: The file is not there, or was removed during the wait.
    """
    descriptor = os.open(path, os.O_RDONLY)
    with os.fdopen(descriptor, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not _is_same_file(file, path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        yield


def _lock_by_name(path: Path) -> BinaryIO:
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, FILE_MODE), "r+b")
        if not _try_lock(file):
            file.close()
            raise TransientError(BUSY_MESSAGE, file=path.name)
        if _is_same_file(file, path):
            file.truncate(0)
            return file
        file.close()


def _try_lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_same_file(file: BinaryIO, path: Path) -> bool:
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(file.fileno()), found)
