"""A drive in memory, with the interface of the real one and its rules, for rules that need no network."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from k9ops.drive.store import CHUNK_UNIT_BYTES, Chunk, NewFile, Quota, RemoteFile, UploadProgress
from k9ops.errors import (
    DriveFileExists,
    DriveFileMissing,
    DriveFolderMissing,
    DriveQuotaExceeded,
    DriveRefused,
    DriveSessionGone,
    FileChanged,
)

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_PIECE_BYTES = 1024 * 1024


@dataclass
class _Session:
    new: NewFile
    content: bytearray = field(default_factory=bytearray)


class FakeDrive:
    """A drive in memory; safe for several threads.

    Args:
        limit_bytes: Room of the account, None for no limit.
    """

    def __init__(self, *, limit_bytes: int | None = None) -> None:
        self.limit_bytes = limit_bytes
        self.files: dict[str, RemoteFile] = {}
        self.parents: dict[str, str] = {}
        self.contents: dict[str, bytes] = {}
        self.sessions: dict[str, _Session] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()

    def read_quota(self) -> Quota:
        return Quota("k9@example.org", self._used_bytes(), self.limit_bytes)

    def get_file(self, file_id: str) -> RemoteFile:
        with self._lock:
            if file_id not in self.files:
                raise DriveFileMissing("There is no such file on Google Drive.")
            return self.files[file_id]

    def find_folders(self, name: str) -> Sequence[RemoteFile]:
        with self._lock:
            return [
                item for item in self.files.values() if item.is_folder and not item.is_trashed and item.name == name
            ]

    def make_folder(self, name: str) -> RemoteFile:
        with self._lock:
            number = next(self._numbers)
            folder = RemoteFile(f"folder-{number}", name, _EPOCH + timedelta(seconds=number), is_folder=True)
            self.files[folder.file_id] = folder
            return folder

    def list_files(self, folder_id: str, *, properties: Mapping[str, str] | None = None) -> Sequence[RemoteFile]:
        wanted = (properties or {}).items()
        with self._lock:
            return [
                item
                for item in self.files.values()
                if self.parents.get(item.file_id) == folder_id
                and not item.is_trashed
                and wanted <= item.properties.items()
            ]

    def set_properties(self, file_id: str, properties: Mapping[str, str]) -> None:
        with self._lock:
            found = self.get_file(file_id)
            self.files[file_id] = replace(found, properties={**found.properties, **properties})

    def delete_file(self, file_id: str) -> bool:
        with self._lock:
            self.contents.pop(file_id, None)
            return self.files.pop(file_id, None) is not None

    def trash(self, file_id: str) -> None:
        """Do what a person does in the browser."""
        with self._lock:
            for found in (file_id, *(child for child, parent in self.parents.items() if parent == file_id)):
                self.files[found] = replace(self.files[found], is_trashed=True)

    def reserve_id(self) -> str:
        with self._lock:
            return f"file-{next(self._numbers)}"

    def open_session(self, new: NewFile) -> str:
        with self._lock:
            if new.file_id in self.files:
                raise DriveFileExists("Google Drive has a file of this id already.")
            if new.folder_id not in self.files:
                raise DriveFolderMissing("The folder is not on Google Drive.")
            self._check_room(new.size_bytes)
            session = f"session-{next(self._numbers)}"
            self.sessions[session] = _Session(new)
            return session

    def send_chunk(self, session: str, chunk: Chunk) -> UploadProgress:
        with chunk.path.open("rb") as file:
            file.seek(chunk.offset)
            content = file.read(chunk.length)
        if len(content) < chunk.length:
            raise FileChanged(f"{chunk.path.name} has become shorter while it was sent.")
        with self._lock:
            state = self._session(session)
            is_last = chunk.offset + chunk.length == state.new.size_bytes
            if chunk.offset != len(state.content) or (chunk.length % CHUNK_UNIT_BYTES and not is_last):
                raise DriveRefused("Google Drive refuses the chunk.")
            state.content += content
            return self._conclude(session) if is_last else UploadProgress(len(state.content))

    def query_session(self, session: str, total: int) -> UploadProgress:
        with self._lock:
            state = self._session(session)
            if state.new.file_id in self.files:
                return UploadProgress(total, self.files[state.new.file_id])
            return UploadProgress(len(state.content))

    def forget_sessions(self) -> None:
        """Do what Drive does after a week."""
        with self._lock:
            self.sessions.clear()

    def read_file(self, file_id: str, *, offset: int = 0) -> Iterator[bytes]:
        self.get_file(file_id)
        content = self.contents[file_id][offset:]
        for start in range(0, len(content), _PIECE_BYTES):
            yield content[start : start + _PIECE_BYTES]

    def close(self) -> None:
        return None

    def _session(self, session: str) -> _Session:
        if session not in self.sessions:
            raise DriveSessionGone("Google Drive does not know this upload any more.")
        return self.sessions[session]

    def _conclude(self, session: str) -> UploadProgress:
        state = self.sessions[session]
        new, content = state.new, bytes(state.content)
        if new.file_id in self.files:
            raise DriveFileExists("Google Drive has a file of this id already.")
        self._check_room(new.size_bytes)
        made = RemoteFile(
            new.file_id,
            new.name,
            _EPOCH + timedelta(seconds=next(self._numbers)),
            size_bytes=len(content),
            md5=hashlib.md5(content, usedforsecurity=False).hexdigest(),
            sha256=hashlib.sha256(content).hexdigest(),
            properties=dict(new.properties),
        )
        self.files[new.file_id], self.parents[new.file_id], self.contents[new.file_id] = made, new.folder_id, content
        return UploadProgress(len(content), made)

    def _check_room(self, size_bytes: int) -> None:
        if self.limit_bytes is not None and self._used_bytes() + size_bytes > self.limit_bytes:
            raise DriveQuotaExceeded("Google Drive has too little room.")

    def _used_bytes(self) -> int:
        return sum(len(content) for content in self.contents.values())
