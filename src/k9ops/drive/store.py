"""What k9ops asks of a drive: the interface that Google Drive and the tests' fake both have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

FOLDER_TYPE = "application/vnd.google-apps.folder"
#: Drive takes chunks in multiples of this, the last one excepted (Drive documentation, "Upload file data").
CHUNK_UNIT_BYTES = 256 * 1024


@dataclass(frozen=True)
class Quota:
    """The room of an account.

    Attributes:
        account: E-mail address.
        used_bytes: Of everything in the account, mail and photos included.
        limit_bytes: None is no limit.
    """

    account: str
    used_bytes: int
    limit_bytes: int | None

    @property
    def free_bytes(self) -> int | None:
        """Room that is left, None without a limit."""
        return None if self.limit_bytes is None else max(0, self.limit_bytes - self.used_bytes)


@dataclass(frozen=True)
class RemoteFile:
    """A file or folder as the drive reports it.

    Attributes:
        file_id: The drive's id.
        name: Need not be unique.
        created_at: Aware UTC.
        size_bytes: None for a folder.
        md5: Hexadecimal, computed by the drive; None for a folder.
        sha256: The same.
        properties: What the application noted (`appProperties`).
        is_folder: Whether it is one.
        is_trashed: Whether it, or a folder above it, is in the trash.
        shared_drive_id: The shared drive it is in; None in an account's own.
    """

    file_id: str
    name: str
    created_at: datetime
    size_bytes: int | None = None
    md5: str | None = None
    sha256: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    is_folder: bool = False
    is_trashed: bool = False
    shared_drive_id: str | None = None


@dataclass(frozen=True)
class NewFile:
    """A file that is to be uploaded.

    Attributes:
        file_id: From `reserve_id`, so that a second attempt cannot make a second file.
        folder_id: Where it goes.
        name: Its name.
        size_bytes: Its whole size.
        properties: At most 30, each at most 124 bytes with its name.
    """

    file_id: str
    folder_id: str
    name: str
    size_bytes: int
    properties: Mapping[str, str]


@dataclass(frozen=True)
class Chunk:
    """A part of a file on this machine, read while it is sent.

    Attributes:
        path: The file.
        offset: Where the part begins.
        length: Bytes; 0 only for an empty file.
        total: Size of the whole file.
    """

    path: Path
    offset: int
    length: int
    total: int


@dataclass(frozen=True)
class UploadProgress:
    """How far an upload is.

    Attributes:
        confirmed_bytes: What the drive has for certain.
        file: The file, once it is whole.
    """

    confirmed_bytes: int
    file: RemoteFile | None = None


class DriveStore(Protocol):
    """A drive. Every method may raise `DriveUnavailable`, `DriveLimited`, `DriveAccessRevoked` or `DriveRefused`."""

    def read_quota(self) -> Quota:
        """Return the room of the account."""

    def get_file(self, file_id: str) -> RemoteFile:
        """Return a file or folder, in the trash or not.

        Raises:
            DriveFileMissing: There is none.
        """

    def find_folders(self, name: str) -> Sequence[RemoteFile]:
        """Return the folders of a name that are not in the trash; one that was made just now may be missing."""

    def make_folder(self, name: str) -> RemoteFile:
        """Make a folder at the top of the account's drive."""

    def list_files(self, folder_id: str, *, properties: Mapping[str, str] | None = None) -> Sequence[RemoteFile]:
        """Return the files of a folder that are not in the trash; one that was made just now may be missing.

        Args:
            folder_id: The folder.
            properties: Only those that have all of these.
        """

    def set_properties(self, file_id: str, properties: Mapping[str, str]) -> None:
        """Note something about a file; what else was noted stays.

        Raises:
            DriveFileMissing: There is none.
        """

    def delete_file(self, file_id: str) -> bool:
        """Delete a file or an empty folder for good; tell whether it was there."""

    def reserve_id(self) -> str:
        """Return an id that no file has had."""

    def open_session(self, new: NewFile) -> str:
        """Begin a resumable upload and return its address, which is a secret: it lets anybody send the file.

        Raises:
            DriveFileExists: A file of this id is there.
            DriveFolderMissing: The folder is not.
            DriveQuotaExceeded: It does not fit.
        """

    def send_chunk(self, session: str, chunk: Chunk) -> UploadProgress:
        """Send a part of a file.

        Args:
            session: From `open_session`.
            chunk: Begins at the confirmed offset; its length is a multiple of `CHUNK_UNIT_BYTES`, or it is the last.

        Raises:
            DriveSessionGone: The drive does not know the session any more.
            DriveFileExists: Another session has made the file of this id.
            DriveQuotaExceeded: It does not fit any more.
            FileChanged: The file has become shorter.
        """

    def query_session(self, session: str, total: int) -> UploadProgress:
        """Ask how far an upload is.

        Raises:
            DriveSessionGone: The drive does not know the session any more.
        """

    def read_file(self, file_id: str, *, offset: int = 0) -> Iterator[bytes]:
        """Yield the content of a file from an offset on, in pieces of at most 1 MiB.

        Raises:
            DriveFileMissing: There is none.
        """

    def close(self) -> None:
        """Close the connections."""
