"""Packs of uploads on Google Drive: several copies share one, and it goes with the last of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

from k9ops.backups.catalogue import Backup
from k9ops.backups.drive_copies import ABANDONED_AFTER, RemoteBackup
from k9ops.backups.manifest import Manifest, decode_manifest
from k9ops.config.logging import get_logger
from k9ops.drive.store import DriveStore, RemoteFile
from k9ops.errors import BackupDamaged

log = get_logger("k9ops.backups")


def find_unreferenced_packs(
    store: DriveStore, copies: Sequence[RemoteBackup], backups: Sequence[Backup], *, now: datetime
) -> tuple[RemoteFile, ...]:
    """Return the files of packs that no copy on Google Drive and no backup in the folder refers to.

    A young one stays: the copy that it belongs to may still be on its way.

    Args:
        store: The drive.
        copies: Those that stay there.
        backups: All of the folder; their manifests need not be fetched.
        now: Aware.

    Raises:
        BackupDamaged: The manifest of a copy cannot be read: then nobody knows which packs it needs.
    """
    packs = copies[0].packs if copies else ()
    old = [file for file in packs if file.created_at < now - ABANDONED_AFTER]
    if not old:
        return ()
    manifests = [backup.manifest for backup in backups]
    known = {backup.backup_id for backup in backups}
    manifests += [read_manifest(store, copy)[0] for copy in copies if copy.is_whole and copy.backup_id not in known]
    needed = {pack.backup_id for manifest in manifests if manifest.uploads for pack in manifest.uploads.packs}
    return tuple(file for file in old if file.name.partition(".")[0] not in needed)


def delete_packs(store: DriveStore, packs: Sequence[RemoteFile]) -> None:
    """Delete files of packs."""
    for file in packs:
        store.delete_file(file.file_id)
        log.info("pack.deleted", file=file.name, size_bytes=file.size_bytes, place="drive")


def read_manifest(store: DriveStore, copy: RemoteBackup) -> tuple[Manifest, bytes]:
    """Fetch the manifest of a copy, and its text.

    Raises:
        BackupDamaged: There is none, or it is not what was uploaded.
    """
    file = copy.manifest_file
    if file is None:
        raise BackupDamaged(f"The copy of backup {copy.backup_id} on Google Drive is not whole.")
    content = b"".join(store.read_file(file.file_id))
    if file.sha256 not in (None, hashlib.sha256(content).hexdigest()):
        raise BackupDamaged(f"{file.name} did not arrive from Google Drive as it is there.")
    return decode_manifest(content), content
