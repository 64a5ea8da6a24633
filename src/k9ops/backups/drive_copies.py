"""The backups that are on Google Drive: listed, brought up to date, let go by the same policy."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from k9ops.backups.catalogue import Backup, is_of_pack
from k9ops.backups.manifest import CopiedFile, DriveCopy, VerificationState
from k9ops.backups.retention import RetentionPolicy, plan_retention
from k9ops.backups.upload import BACKUP_PROPERTY, CREATED_PROPERTY, PINNED_PROPERTY, VERIFICATION_PROPERTY, notes_of
from k9ops.config.logging import get_logger
from k9ops.drive.store import DriveStore, RemoteFile

_STATES: Mapping[str, VerificationState] = {"verified": "verified", "failed": "failed"}
_FILE_NAME = re.compile(r"(\d{8}T\d{6}Z-[0-9a-f]{8})\.[a-z0-9.]+")
#: Drive forgets an upload after a week; what has no manifest by then never gets one.
ABANDONED_AFTER = timedelta(days=8)

log = get_logger("k9ops.backups")


@dataclass(frozen=True)
class RemoteBackup:
    """A backup on Google Drive, as one listing shows it.

    Attributes:
        backup_id: Its name.
        created_at: The moment whose data it holds, aware UTC.
        verification_state: As it was noted last.
        is_pinned: As it was noted last.
        files: All of its own that are there.
        packs: Packs of uploads in the folder, which several backups share.
    """

    backup_id: str
    created_at: datetime
    verification_state: VerificationState
    is_pinned: bool
    files: tuple[RemoteFile, ...]
    packs: tuple[RemoteFile, ...] = ()

    @property
    def arrival(self) -> None:
        """Copies have no order of their own: after an outage older ones follow newer ones."""

    @property
    def manifest_file(self) -> RemoteFile | None:
        """The manifest, which is uploaded last."""
        return next((file for file in self.files if file.name == f"{self.backup_id}.json"), None)

    @property
    def is_whole(self) -> bool:
        """Whether the manifest and the archive are there."""
        archives = (f"{self.backup_id}.dump", f"{self.backup_id}.dump.age")
        return self.manifest_file is not None and any(file.name in archives for file in self.files)

    @property
    def size_bytes(self) -> int:
        """Size of all files."""
        return sum(file.size_bytes or 0 for file in self.files)

    def has(self, copy: DriveCopy) -> bool:
        """Tell whether every file of a copy is there, with the size and digests that were compared."""
        found = {file.file_id: file for file in self.files}
        # A pack may have been sent again, by another backup that shares it.
        packs = {(file.name, file.size_bytes, file.sha256, file.md5) for file in self.packs}
        return all(
            (item.file_id in found and _is_same(found[item.file_id], item))
            or (is_of_pack(item.name) and (item.name, item.size_bytes, item.sha256, item.md5) in packs)
            for item in copy.files
        )


def list_copies(store: DriveStore, folder: RemoteFile | None) -> tuple[RemoteBackup, ...]:
    """Return the backups in a folder on Google Drive, newest first; files of others are passed over.

    Args:
        store: The drive.
        folder: None has none.
    """
    if folder is None:
        return ()
    files: dict[str, list[RemoteFile]] = {}
    packs: list[RemoteFile] = []
    for file in store.list_files(folder.file_id):
        match = _FILE_NAME.fullmatch(file.name)
        if match is None or file.properties.get(BACKUP_PROPERTY) != match[1]:
            continue
        if is_of_pack(file.name):
            packs.append(file)
        else:
            files.setdefault(match[1], []).append(file)
    copies = [_describe(backup_id, found, packs) for backup_id, found in files.items()]
    return tuple(sorted(copies, key=lambda copy: (copy.created_at, copy.backup_id), reverse=True))


def find_hold(backup: Backup, backups: Sequence[Backup], copies: Sequence[RemoteBackup]) -> str | None:
    """Return why a backup must stay in the folder for the sake of its copy; None when it may go.

    It may go when it, or a newer verified one, is on Google Drive now, with the digests that were compared.

    Args:
        backup: One of those in the folder.
        backups: All of them.
        copies: On Google Drive, with their notes up to date.
    """
    local = {item.backup_id: item for item in backups}
    for copy in copies:
        is_newer = copy.created_at > backup.created_at and copy.verification_state == "verified"
        if (is_newer or copy.backup_id == backup.backup_id) and _is_proven(copy, local.get(copy.backup_id)):
            return None
    return "neither it nor a newer verified one is on Google Drive yet"


def update_notes(
    store: DriveStore, backups: Sequence[Backup], copies: Sequence[RemoteBackup]
) -> tuple[RemoteBackup, ...]:
    """Note on Google Drive what has changed in the folder since the upload: verification and pins.

    Returns:
        The copies with the notes that they have now.
    """
    local = {backup.backup_id: backup for backup in backups}
    updated = []
    for copy in copies:
        backup = local.get(copy.backup_id)
        if backup is None:
            updated.append(copy)
            continue
        state = backup.verification_state
        if copy.verification_state == "verified" and _is_proven(copy, backup):
            state = "verified"  # what happened to the files here says nothing about those
        notes = notes_of(backup) | {VERIFICATION_PROPERTY: state}
        for file in copy.files:
            if any(file.properties.get(name) != value for name, value in notes.items()):
                store.set_properties(file.file_id, notes)
        updated.append(replace(copy, verification_state=state, is_pinned=backup.is_pinned))
    return tuple(updated)


def plan_deletion(
    copies: Sequence[RemoteBackup],
    policy: RetentionPolicy,
    *,
    local: Collection[str],
    kept: Collection[str],
    now: datetime,
    zone: ZoneInfo,
) -> list[tuple[RemoteBackup, str]]:
    """Decide which copies go, oldest first, each with its reason.

    A copy goes when its backup does not stay in the folder, and the policy lets it go among the copies alone: neither
    a folder that was lost nor uploads that fail for weeks take the last copies with them.

    Args:
        copies: On Google Drive, with their notes up to date.
        policy: The same as for the folder.
        local: Ids of the backups that were in the folder before anything was deleted.
        kept: Ids of those that stay there.
        now: Aware.
        zone: The unit's time zone.
    """
    whole = [copy for copy in copies if copy.is_whole]
    going = {item.backup.backup_id: item.reason for item in plan_retention(whole, policy, now=now, zone=zone).delete}
    planned = []
    for copy in reversed(copies):
        if copy.backup_id in kept:
            continue
        if copy.backup_id in going:
            planned.append((copy, going[copy.backup_id]))
        elif copy.manifest_file is not None and not copy.is_whole:
            planned.append((copy, "the rest of a deletion"))
        elif copy.manifest_file is None and copy.backup_id not in local and _is_abandoned(copy, now):
            planned.append((copy, "its upload never ended, and its backup is no longer in the folder"))
    return planned


def delete_copy(store: DriveStore, copy: RemoteBackup, reason: str) -> None:
    """Delete a copy, its manifest last, so that the next retention sees what a dead one left."""
    for file in sorted(copy.files, key=lambda file: file is copy.manifest_file):
        store.delete_file(file.file_id)
    log.info("copy.deleted", backup_id=copy.backup_id, reason=reason, size_bytes=copy.size_bytes)


def _describe(backup_id: str, files: Sequence[RemoteFile], packs: Sequence[RemoteFile]) -> RemoteBackup:
    notes = files[-1].properties
    # The slot in the name is near enough where the note is missing.
    moment = datetime.strptime(backup_id.partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    with contextlib.suppress(ValueError):
        moment = datetime.fromisoformat(notes.get(CREATED_PROPERTY, "")).astimezone(UTC)
    return RemoteBackup(
        backup_id,
        moment,
        _STATES.get(notes.get(VERIFICATION_PROPERTY, ""), "unverified"),
        any(file.properties.get(PINNED_PROPERTY) == "yes" for file in files),
        tuple(files),
        tuple(packs),
    )


def _is_proven(copy: RemoteBackup, backup: Backup | None) -> bool:
    """Tell whether a copy is whole, and still what was compared where the folder knows of it."""
    if backup is None:
        return copy.is_whole
    return backup.state.drive_copy is not None and copy.has(backup.state.drive_copy)


def _is_same(file: RemoteFile, item: CopiedFile) -> bool:
    return (file.size_bytes, file.sha256, file.md5) == (item.size_bytes, item.sha256, item.md5)


def _is_abandoned(copy: RemoteBackup, now: datetime) -> bool:
    return max(file.created_at for file in copy.files) < now - ABANDONED_AFTER
