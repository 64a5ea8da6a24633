"""Uploading a file so that it is on the drive once, whatever fails in between and whoever goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from k9ops.config.logging import get_logger
from k9ops.drive.local import LocalFile
from k9ops.drive.patience import Patience
from k9ops.drive.store import CHUNK_UNIT_BYTES, Chunk, DriveStore, NewFile, RemoteFile, UploadProgress
from k9ops.errors import (
    DriveCopyDiffers,
    DriveFileExists,
    DriveFileMissing,
    DriveLimited,
    DriveRefused,
    DriveSessionGone,
    DriveUnavailable,
)
from k9ops.outcome import Execution

_MAX_SESSIONS = 4

log = get_logger("k9ops.drive")


@dataclass(frozen=True)
class UploadMark:
    """Where an upload is, so that another attempt, process or machine goes on from there.

    Attributes:
        file_id: Reserved before anything is sent.
        folder_id: Where it goes.
        sha256: Of the file that it belongs to.
        session: Address of the resumable session, a secret; None before it is opened.
        confirmed_bytes: What the drive had at the last word; the drive itself is asked before going on.
    """

    file_id: str
    folder_id: str
    sha256: str
    session: str | None = None
    confirmed_bytes: int = 0


class UploadMemory(Protocol):
    """Keeps the mark of one file's upload."""

    def load(self) -> UploadMark | None:
        """Return the mark, None when there is none."""

    def save(self, mark: UploadMark) -> None:
        """Keep a mark, safe from a power cut."""


@dataclass(frozen=True)
class Uploaded:
    """A file that is on the drive.

    Attributes:
        file: As the drive reports it; its size and digests are those of the local file.
        sent_bytes: What this attempt sent, repetitions included.
        is_found: Whether it was there already.
    """

    file: RemoteFile
    sent_bytes: int
    is_found: bool


@dataclass(frozen=True)
class UploadOptions:
    """How to upload.

    Attributes:
        chunk_bytes: A multiple of `CHUNK_UNIT_BYTES`.
        patience: With failing chunks.
        execution: Asked whether to stop.
        on_progress: Told the confirmed bytes of the file.
    """

    chunk_bytes: int
    patience: Patience
    execution: Execution
    on_progress: Callable[[int], None]

    def __post_init__(self) -> None:
        if self.chunk_bytes <= 0 or self.chunk_bytes % CHUNK_UNIT_BYTES:
            raise ValueError(f"chunk_bytes must be a multiple of {CHUNK_UNIT_BYTES}")


def find_copy(store: DriveStore, folder_id: str, local: LocalFile) -> RemoteFile | None:
    """Return the copy of a file that is on the drive, the oldest when there are several."""
    found = [file for file in store.list_files(folder_id, properties=local.key) if local.is_copied_in(file)]
    return min(found, key=lambda file: (file.created_at, file.file_id), default=None)


def upload_file(
    store: DriveStore, local: LocalFile, folder_id: str, *, memory: UploadMemory, options: UploadOptions
) -> Uploaded:
    """Upload a file, or go on with an upload that was begun; do nothing when it is there.

    The caller sees to it that one process at a time uploads a file.

    Args:
        store: The drive.
        local: The file.
        folder_id: Where it goes.
        memory: Keeps the mark between attempts.
        options: Chunks, patience, stopping.

    Returns:
        The copy, whose size and digests, as the drive reports them, are those of the file.

    Raises:
        DriveCopyDiffers: What the drive stored has another size or digest; it was deleted there.
        FileChanged: The file has become shorter while it was sent.
        K9opsError: As the methods of `DriveStore` say, when patience is at its end.
    """
    copy = find_copy(store, folder_id, local)
    if copy is not None:
        options.on_progress(local.size_bytes)
        uploaded = Uploaded(copy, sent_bytes=0, is_found=True)
    else:
        uploaded = _Upload(store, local, folder_id, memory, options).run()
    _remove_others(store, folder_id, local, uploaded.file)
    return uploaded


def _remove_others(store: DriveStore, folder_id: str, local: LocalFile, copy: RemoteFile) -> None:
    """Delete what else stands there for the same file: a former content, or a copy that lost its mark."""
    for other in store.list_files(folder_id, properties=local.key):
        if other.file_id != copy.file_id:
            store.delete_file(other.file_id)
            log.warning("copy.removed", file=local.name, file_id=other.file_id, reason="another copy of the same file")


class _Upload:
    """One attempt to upload one file."""

    def __init__(
        self, store: DriveStore, local: LocalFile, folder_id: str, memory: UploadMemory, options: UploadOptions
    ) -> None:
        self._store = store
        self._local = local
        self._folder_id = folder_id
        self._memory = memory
        self._options = options
        self._sent_bytes = 0
        self._mark = self._begin()

    def run(self) -> Uploaded:
        """Go on until the file is whole."""
        for _ in range(_MAX_SESSIONS):
            try:
                return self._accept(self._go_on().file_id)
            except DriveSessionGone:
                log.warning("upload.restarted", file=self._local.name, confirmed_bytes=self._mark.confirmed_bytes)
                self._keep(replace(self._mark, session=None, confirmed_bytes=0))
        raise DriveUnavailable("Google Drive forgets every upload that is begun.")

    def _begin(self) -> UploadMark:
        mark = self._memory.load()
        if mark is not None and (mark.folder_id, mark.sha256) == (self._folder_id, self._local.sha256):
            return mark
        return self._new_mark()

    def _new_mark(self) -> UploadMark:
        mark = UploadMark(self._store.reserve_id(), self._folder_id, self._local.sha256)
        self._memory.save(mark)
        return mark

    def _keep(self, mark: UploadMark) -> None:
        self._mark = mark
        self._memory.save(mark)

    def _go_on(self) -> RemoteFile:
        """Find the file, or send what is missing of it in the session that is open, or in a new one."""
        progress = self._resume() if self._mark.session else self._open()
        while progress.file is None:
            self._options.on_progress(progress.confirmed_bytes)
            progress = self._advance(progress.confirmed_bytes)
        self._options.on_progress(self._local.size_bytes)
        return progress.file

    def _open(self) -> UploadProgress:
        existing = self._find_by_id(self._mark.file_id)
        if existing is not None:
            return UploadProgress(self._local.size_bytes, existing)
        local = self._local
        new = NewFile(
            self._mark.file_id, self._folder_id, local.name, local.size_bytes, {**local.properties, **local.key}
        )
        try:
            session = self._store.open_session(new)
        except DriveFileExists:
            return UploadProgress(local.size_bytes, self._store.get_file(self._mark.file_id))
        self._keep(replace(self._mark, session=session, confirmed_bytes=0))
        return UploadProgress(0)

    def _find_by_id(self, file_id: str) -> RemoteFile | None:
        try:
            found = self._store.get_file(file_id)
        except DriveFileMissing:
            return None
        if found.is_trashed:  # somebody threw the copy away: it needs another id
            self._mark = self._new_mark()
            return None
        return found

    def _resume(self) -> UploadProgress:
        progress = self._query()
        log.info("upload.resumed", file=self._local.name, confirmed_bytes=progress.confirmed_bytes)
        return progress

    def _advance(self, offset: int) -> UploadProgress:
        """Send one chunk; after a failure ask how much arrived, with patience."""
        failures, is_unsure = 0, False
        while True:
            self._options.execution.check_stop()
            try:
                progress = self._query() if is_unsure else self._send(offset)
            except DriveFileExists:
                return UploadProgress(self._local.size_bytes, self._store.get_file(self._mark.file_id))
            except (DriveUnavailable, DriveLimited) as exc:
                failures, is_unsure = failures + 1, True
                self._bear(exc, offset, failures)
                continue
            if progress.file is None and progress.confirmed_bytes == offset:
                is_unsure = False  # it has nothing of the chunk: send it again
                continue
            if progress.file is None:
                self._keep(replace(self._mark, confirmed_bytes=progress.confirmed_bytes))
            return progress

    def _send(self, offset: int) -> UploadProgress:
        """Send one chunk, which the drive must take something of."""
        length = min(self._options.chunk_bytes, self._local.size_bytes - offset)
        chunk = Chunk(self._local.path, offset, length, self._local.size_bytes)
        self._sent_bytes += length
        try:
            progress = self._store.send_chunk(self._session, chunk)
        except DriveRefused:
            # What a killed process had on its way may have arrived since the drive was asked.
            progress = self._query()
            if progress.file is None and progress.confirmed_bytes == offset:
                raise
        if progress.file is None and progress.confirmed_bytes == offset:
            raise DriveUnavailable("Google Drive took nothing of what was sent.")
        return progress

    def _query(self) -> UploadProgress:
        return self._store.query_session(self._session, self._local.size_bytes)

    @property
    def _session(self) -> str:
        assert self._mark.session is not None  # noqa: S101 - open since `_open`, or before
        return self._mark.session

    def _bear(self, error: DriveUnavailable | DriveLimited, offset: int, failures: int) -> None:
        """Wait after a failure, or raise it when patience is at its end."""
        patience = self._options.patience
        if failures > patience.max_failures or (error.retry_after_s or 0) > patience.longest_s:
            raise error
        log.warning("chunk.failed", file=self._local.name, offset=offset, failures=failures, problem=str(error))
        patience.wait(failures, error.retry_after_s, self._options.execution)

    def _accept(self, file_id: str) -> Uploaded:
        """Compare the file as it is on the drive now with the one that was sent."""
        remote = self._find_by_id(file_id)
        if remote is None:
            raise DriveSessionGone("The copy is no longer on Google Drive.")
        if not self._local.is_copied_in(remote):
            self._store.delete_file(remote.file_id)
            self._new_mark()
            raise DriveCopyDiffers(
                f"The copy of {self._local.name} on Google Drive was not what was sent; it was deleted there.",
                expected={"size_bytes": self._local.size_bytes, "sha256": self._local.sha256},
                found={"size_bytes": remote.size_bytes, "sha256": remote.sha256, "md5": remote.md5},
            )
        return Uploaded(remote, self._sent_bytes, is_found=False)
