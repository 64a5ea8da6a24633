"""Reading stored uploads: is every content there and what it was, and what stands in the index."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator

from k9ops.backups.archives import read_payload
from k9ops.backups.catalogue import (
    DIGEST_BYTES,
    Backup,
    contents_path,
    digests_of,
    index_path,
    pack_path,
    uploads_files_of,
)
from k9ops.backups.keys import PrivateKeys
from k9ops.backups.manifest import Pack, UploadsVerification
from k9ops.backups.tar_stream import read_members
from k9ops.backups.uploads_index import decode_entries
from k9ops.backups.uploads_packs import hash_file
from k9ops.backups.uploads_scan import Entry
from k9ops.errors import BackupDamaged, KeyUnsuitable
from k9ops.outcome import Execution

#: Takes the digest of a content and its pieces.
Take = Callable[[bytes, Iterator[bytes]], None]


def check_uploads_digests(backup: Backup, *, execution: Execution) -> None:
    """Compare index, packs and lists of contents with the digests in the manifest.

    Raises:
        BackupDamaged: One differs, or is not there.
    """
    digests = digests_of(backup)
    for path in uploads_files_of(backup):
        try:
            found = hash_file(path, execution=execution)
        except OSError as exc:
            raise BackupDamaged(f"{path.name} cannot be read.", error=str(exc)) from exc
        if found != digests[path]:
            raise BackupDamaged(f"The SHA-256 of {path.name} is not the one that was written.", found=found)


def verify_uploads(backup: Backup, keys: PrivateKeys | None, *, execution: Execution) -> UploadsVerification | None:
    """Read the index and every pack that can be opened, and look for the content of each file.

    A pack of an earlier set does not open with the one-off key of this one: its list of contents counts, as its own
    verification read it when it was made.

    Args:
        backup: Its digests were checked.
        keys: Open an encrypted backup.
        execution: Asked whether to stop.

    Returns:
        None when the backup has no uploads.

    Raises:
        BackupDamaged: A content is missing or another one, or the index says something else than the manifest.
    """
    uploads = backup.manifest.uploads
    if uploads is None or uploads.index_sha256 is None:
        return None
    read: set[bytes] = set()
    listed: set[bytes] = set()
    for pack in uploads.packs:
        try:
            read |= _read_contents(backup, pack, keys, execution)
        except KeyUnsuitable:
            if pack.backup_id == backup.backup_id:
                raise
            listed |= _list_contents(backup, pack)
    files, size_bytes, used = 0, 0, set[bytes]()
    for entry in read_index(backup, keys):
        if entry.sha256 is not None:
            digest = bytes.fromhex(entry.sha256)
            if digest not in read and digest not in listed:
                raise BackupDamaged("The content of a file is in no pack of the backup.", sha256=entry.sha256)
            files, size_bytes = files + 1, size_bytes + entry.size_bytes
            used.add(digest)
    if (files, size_bytes) != (uploads.files, uploads.size_bytes):
        raise BackupDamaged(
            f"The index of the uploads has {files} files of {size_bytes} bytes;"
            f" {uploads.files} of {uploads.size_bytes} were written."
        )
    by_digest = len(used - read)
    return UploadsVerification(
        files=files, size_bytes=size_bytes, contents_read=len(used) - by_digest, contents_by_digest=by_digest
    )


def read_index(backup: Backup, keys: PrivateKeys | None) -> Iterator[Entry]:
    """Yield the entries of the index of a backup.

    Raises:
        BackupDamaged: It cannot be read.
        KeyUnsuitable: No key opens it.
    """
    path = index_path(backup.folder, backup.backup_id, is_encrypted=backup.is_encrypted)
    with contextlib.closing(read_payload(path, keys)) as chunks:
        yield from decode_entries(chunks)


def read_pack(backup: Backup, pack: Pack, keys: PrivateKeys | None, take: Take, *, execution: Execution) -> None:
    """Pass on every member of a pack; whether it has the digest of its name is the taker's question.

    Raises:
        BackupDamaged: It is no tar file, or ends too early.
        KeyUnsuitable: No key opens it.
    """
    path = pack_path(backup.folder, pack.backup_id, is_encrypted=backup.is_encrypted)
    with contextlib.closing(read_payload(path, keys)) as chunks:
        for name, pieces in read_members(chunks):
            execution.check_stop()
            if _is_digest(name):
                take(bytes.fromhex(name), pieces)


def _read_contents(backup: Backup, pack: Pack, keys: PrivateKeys | None, execution: Execution) -> set[bytes]:
    """Return the digests of the contents of a pack, each computed from what it holds."""
    found: set[bytes] = set()

    def take(name: bytes, pieces: Iterator[bytes]) -> None:
        digest = hashlib.sha256()
        for piece in pieces:
            execution.check_stop()
            digest.update(piece)
        if digest.digest() == name:
            found.add(name)

    read_pack(backup, pack, keys, take, execution=execution)
    missing = _list_contents(backup, pack) - found
    if missing:
        raise BackupDamaged(f"The pack of {pack.backup_id} lacks {len(missing)} of its contents.")
    return found


def _list_contents(backup: Backup, pack: Pack) -> set[bytes]:
    path = contents_path(backup.folder, pack.backup_id)
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise BackupDamaged(f"{path.name} cannot be read.", error=str(exc)) from exc
    return {content[start : start + DIGEST_BYTES] for start in range(0, len(content), DIGEST_BYTES)}


def _is_digest(name: str) -> bool:
    return len(name) == 2 * DIGEST_BYTES and all(character in "0123456789abcdef" for character in name)
