"""Reading the uploads folder: every name below it, whatever it is, without following a link."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from k9ops.backups.programs import CHUNK_BYTES

Kind = Literal["file", "directory", "link", "special"]

# Up to this size a file is read once and kept in memory until it is stored.
_SMALL_BYTES = 4 << 20
_ATTEMPTS = 3
# A file system's own folder at its top: nobody uploads into it, and only root may read it.
_ROOT_ONLY = "lost+found"
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Entry:
    """What stands under one name of the uploads folder.

    Attributes:
        path: Below the folder, with `/`; bytes that are not UTF-8 as `os.fsdecode` shows them.
        kind: `special` is a socket, pipe or device.
        mode: Permission bits.
        mtime_ns: Last change, nanoseconds since 1970.
        size_bytes: Of a stored file.
        sha256: Of a stored file, hexadecimal.
        target: Of a link.
        problem: Why it could not be stored, for a person.
    """

    path: str
    kind: Kind
    mode: int = 0
    mtime_ns: int = 0
    size_bytes: int = 0
    sha256: str | None = None
    target: str | None = None
    problem: str | None = None


#: Takes a new content: its digest, its size, and the pieces it consists of. Returns whether they had that digest;
#: raises no OSError.
Store = Callable[[bytes, int, Iterator[bytes]], bool]


def scan_uploads(
    folder: Path, *, is_known: Callable[[bytes], bool], store: Store, check_stop: Callable[[], None]
) -> Iterator[Entry]:
    """Yield everything below a folder, in the order of names, and store each content that is not known yet.

    Args:
        folder: The uploads folder; a link to it is followed, none below it is.
        is_known: Tells whether a digest is stored already.
        store: Stores one that is not.
        check_stop: Raises when the work must stop.

    Raises:
        OSError: The folder itself cannot be read.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield from _Scan(is_known, store, check_stop).walk(descriptor, "")
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class _Scan:
    is_known: Callable[[bytes], bool]
    store: Store
    check_stop: Callable[[], None]

    def walk(self, folder: int, prefix: str) -> Iterator[Entry]:
        for name in sorted(os.listdir(folder)):
            self.check_stop()
            path = f"{prefix}{name}"
            try:
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    yield from self._enter(folder, name, path, found)
                else:
                    yield self._look_at(folder, name, path, found)
            except OSError as exc:
                yield Entry(path, "file", problem=_explain(exc))

    def _enter(self, folder: int, name: str, path: str, found: os.stat_result) -> Iterator[Entry]:
        try:
            descriptor = os.open(name, _FOLDER_FLAGS, dir_fd=folder)
        except OSError as exc:
            is_for_root = path == _ROOT_ONLY and isinstance(exc, PermissionError)
            problem = None if is_for_root else _explain(exc)
            yield Entry(path, "directory", stat.S_IMODE(found.st_mode), found.st_mtime_ns, problem=problem)
            return
        try:
            yield Entry(path, "directory", stat.S_IMODE(found.st_mode), found.st_mtime_ns)
            yield from self.walk(descriptor, f"{path}/")
        finally:
            os.close(descriptor)

    def _look_at(self, folder: int, name: str, path: str, found: os.stat_result) -> Entry:
        mode, mtime_ns = stat.S_IMODE(found.st_mode), found.st_mtime_ns
        if stat.S_ISLNK(found.st_mode):
            target = os.readlink(name, dir_fd=folder)
            return Entry(path, "link", mode, mtime_ns, target=target, problem=_judge_link(path, target))
        if not stat.S_ISREG(found.st_mode):
            return Entry(path, "special", mode, mtime_ns)
        descriptor = os.open(name, _FILE_FLAGS, dir_fd=folder)
        try:
            for _ in range(_ATTEMPTS):
                before = os.fstat(descriptor)
                digest = self._keep(descriptor, before.st_size)
                after = os.fstat(descriptor)
                if digest is not None and _is_unchanged(before, after):
                    mode = stat.S_IMODE(after.st_mode)
                    return Entry(path, "file", mode, after.st_mtime_ns, after.st_size, digest.hex())
            return Entry(path, "file", mode, mtime_ns, problem="It changed each time while it was read.")
        finally:
            os.close(descriptor)

    def _keep(self, descriptor: int, size_bytes: int) -> bytes | None:
        """Hash a file, and store it if it is new; None when it was another one the second time."""
        if size_bytes <= _SMALL_BYTES:
            content = b"".join(self._read(descriptor, size_bytes))
            digest = hashlib.sha256(content).digest()
            if len(content) != size_bytes:
                return None
            if not self.is_known(digest):
                self.store(digest, size_bytes, iter([content]))
            return digest
        hasher = hashlib.sha256()
        for chunk in self._read(descriptor, size_bytes):
            hasher.update(chunk)
        digest = hasher.digest()
        if self.is_known(digest):
            return digest
        errors: list[OSError] = []
        is_stored = self.store(digest, size_bytes, self._read_again(descriptor, size_bytes, errors))
        if errors:
            raise errors[0]
        return digest if is_stored else None

    def _read_again(self, descriptor: int, size_bytes: int, errors: list[OSError]) -> Iterator[bytes]:
        """While a content is being stored, an error of its file must not look like one of the store."""
        try:
            yield from self._read(descriptor, size_bytes)
        except OSError as exc:
            errors.append(exc)

    def _read(self, descriptor: int, size_bytes: int) -> Iterator[bytes]:
        """Yield no more than the size that was found: a file that grows would never end."""
        position = 0
        while position < size_bytes:
            self.check_stop()
            chunk = os.pread(descriptor, min(CHUNK_BYTES, size_bytes - position), position)
            if not chunk:
                return
            yield chunk
            position += len(chunk)


def show_path(path: str) -> str:
    """Return a path as text for people and JSON: bytes that are not UTF-8 as `\\xff`."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _is_unchanged(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_size, after.st_mtime_ns, after.st_ctime_ns,
    )  # fmt: skip


def _judge_link(path: str, target: str) -> str | None:
    """A link is not followed; what it leads to is in the backup only if that stands in the same folder."""
    if os.path.isabs(target):  # noqa: PTH117 - not a path of this process
        return "It is a link to a place outside of the folder, which is not backed up."
    joined = os.path.normpath(os.path.join(os.path.dirname(path), target))  # noqa: PTH118, PTH120
    if joined == ".." or joined.startswith("../"):
        return "It is a link to a place outside of the folder, which is not backed up."
    return None


def _explain(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "It vanished while the folder was read."
    return f"It cannot be read: {error.strerror}."
