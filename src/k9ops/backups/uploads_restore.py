"""Restoring stored uploads into a new folder: whole and compared, or not there at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from k9ops.backups.archives import check_key
from k9ops.backups.catalogue import Backup
from k9ops.backups.keys import PrivateKeys, find_keys_of
from k9ops.backups.uploads_read import check_uploads_digests, read_index, read_pack
from k9ops.backups.uploads_scan import Entry
from k9ops.config.logging import get_logger
from k9ops.config.settings import Settings
from k9ops.durable import disk_errors, fsync_folder
from k9ops.errors import BackupDamaged, ParamsInvalid
from k9ops.outcome import Execution

_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Nobody gets the rights of another user by a restore.
_MODE_MASK = 0o777
_OWN_FOLDER_MODE = 0o700

log = get_logger("k9ops.backups")


@dataclass(frozen=True)
class UploadsReport:
    """What was restored.

    Attributes:
        folder: Where.
        files: Number of files, each with the digest of the index.
        size_bytes: Of all of them.
        links: Links that were not restored.
        missing: Names that the backup could not store when it was made.
    """

    folder: str
    files: int
    size_bytes: int
    links: int
    missing: int


def restore_uploads(
    settings: Settings, backup: Backup, *, into: Path, execution: Execution, keys: PrivateKeys | None = None
) -> UploadsReport:
    """Restore the uploads of a backup into a folder that is not there yet.

    Names, contents, permission bits and times are restored; owners and links are not. Everything is written beside
    it under a hidden name first.

    Args:
        settings: Where a private key may be.
        backup: From `load_backup`.
        into: The new folder; the one in which it stands must be there.
        execution: Asked whether to stop; told the bytes written.
        keys: Open an encrypted backup; None takes those of `K9OPS_BACKUP_IDENTITY_FILE`.

    Raises:
        ParamsInvalid: The folder is there already, or the backup has no uploads.
        BackupDamaged: A file of the backup is not what was written, or would be written outside of the folder.
        KeyUnsuitable: No key opens the backup.
        DiskFull: Too little room.
    """
    uploads = backup.manifest.uploads
    if uploads is None or uploads.index_sha256 is None:
        raise ParamsInvalid(f"Backup {backup.backup_id} has no uploads.")
    into = into.absolute()
    if os.path.lexists(into):
        raise ParamsInvalid(f"{into} is there already; name a new folder.")
    if not into.parent.is_dir():
        raise ParamsInvalid(f"There is no folder {into.parent}.")
    keys = find_keys_of(settings, backup.manifest, keys)
    check_key(backup, keys)
    check_uploads_digests(backup, execution=execution)
    work = into.with_name(f".{into.name}.{secrets.token_hex(4)}.partial")
    with disk_errors(), _removed_on_error(work):
        report = _Restore(backup, keys, execution, work).run(into)
        os.sync()
        os.rename(work, into)  # noqa: PTH104 - refuses a folder that has come in between, unless it is empty
        fsync_folder(into.parent)
    log.info("uploads.restored", backup_id=backup.backup_id, files=report.files, size_bytes=report.size_bytes)
    return report


@contextlib.contextmanager
def _removed_on_error(work: Path) -> Iterator[None]:
    work.mkdir(_OWN_FOLDER_MODE)
    try:
        yield
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


class _Restore:
    """One restore, file by file; nothing in the folder comes from anybody else."""

    def __init__(self, backup: Backup, keys: PrivateKeys | None, execution: Execution, work: Path) -> None:
        self._backup = backup
        self._keys = keys
        self._execution = execution
        self._work = work
        self._files_of: dict[bytes, list[Entry]] = {}
        self._folders: list[Entry] = []
        self._links = 0
        self._missing = 0
        self._files = 0
        self._size_bytes = 0
        self._written_bytes = 0

    def run(self, into: Path) -> UploadsReport:
        for entry in read_index(self._backup, self._keys):
            self._execution.check_stop()
            self._sort(entry)
        uploads = self._backup.manifest.uploads
        for pack in uploads.packs if uploads else ():
            read_pack(self._backup, pack, self._keys, self._take, execution=self._execution)
        if self._files_of:
            raise BackupDamaged(f"{len(self._files_of)} contents are in no pack of the backup.")
        if uploads is None or (self._files, self._size_bytes) != (uploads.files, uploads.size_bytes):
            raise BackupDamaged(f"{self._files} files of {self._size_bytes} bytes are not what was stored.")
        for entry in reversed(self._folders):
            self._finish(self._place(entry.path), entry, entry.mode | _OWN_FOLDER_MODE)
        return UploadsReport(str(into), self._files, self._size_bytes, self._links, self._missing)

    def _sort(self, entry: Entry) -> None:
        if entry.kind == "directory":
            self._place(entry.path).mkdir(_OWN_FOLDER_MODE, parents=True, exist_ok=True)
            self._folders.append(entry)
        elif entry.sha256 is not None:
            self._place(entry.path)
            self._files_of.setdefault(bytes.fromhex(entry.sha256), []).append(entry)
        elif entry.kind == "link":
            self._links += 1
        self._missing += entry.problem is not None

    def _place(self, path: str) -> Path:
        """Return where a name belongs, if that is in the folder."""
        parts = path.split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise BackupDamaged("The index of the uploads has a name that leads out of the folder.", path=path)
        return self._work.joinpath(*parts)

    def _take(self, digest: bytes, pieces: Iterator[bytes]) -> None:
        entries = self._files_of.get(digest)
        if entries is None:
            return
        first = self._place(entries[0].path)
        hasher = hashlib.sha256()
        with self._create(first) as file:
            for piece in pieces:
                self._execution.check_stop()
                hasher.update(piece)
                file.write(piece)
                self._report(len(piece))
        if hasher.digest() != digest:
            first.unlink()
            return
        for entry in entries[1:]:
            with self._create(self._place(entry.path)) as file, first.open("rb") as source:
                shutil.copyfileobj(source, file, 1 << 20)
        for entry in entries:
            self._finish(self._place(entry.path), entry, entry.mode)
            self._files += 1
            self._size_bytes += self._place(entry.path).stat().st_size
        del self._files_of[digest]

    def _create(self, path: Path) -> contextlib.AbstractContextManager[io.BufferedWriter]:
        path.parent.mkdir(_OWN_FOLDER_MODE, parents=True, exist_ok=True)
        try:
            return os.fdopen(os.open(path, _FILE_FLAGS, 0o600), "wb")
        except FileExistsError as exc:
            raise BackupDamaged("The index of the uploads has a name twice.", path=str(path)) from exc

    def _finish(self, path: Path, entry: Entry, mode: int) -> None:
        path.chmod(mode & _MODE_MASK)
        os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))

    def _report(self, count: int) -> None:
        uploads = self._backup.manifest.uploads
        self._written_bytes += count
        self._execution.report_progress(self._written_bytes, uploads.size_bytes if uploads else 0, "bytes")
