"""Uploading a backup: all of its files, the manifest last, each compared with what Google Drive reports."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from k9ops.backups.catalogue import Backup, digests_of, files_of, is_of_pack, update_state
from k9ops.backups.create import format_bytes
from k9ops.backups.manifest import CopiedFile, DriveCopy
from k9ops.backups.upload_marks import FileMemory, uploading
from k9ops.config.logging import get_logger
from k9ops.config.settings import Settings
from k9ops.drive.local import LocalFile, read_local_file
from k9ops.drive.patience import Patience
from k9ops.drive.store import DriveStore, RemoteFile
from k9ops.drive.upload import Uploaded, UploadOptions, upload_file
from k9ops.errors import BackupDamaged, DriveQuotaExceeded
from k9ops.outcome import Execution

BACKUP_PROPERTY = "k9ops_backup"
CREATED_PROPERTY = "k9ops_created_at"
VERIFICATION_PROPERTY = "k9ops_verification"
PINNED_PROPERTY = "k9ops_pinned"

log = get_logger("k9ops.backups")


def notes_of(backup: Backup) -> dict[str, str]:
    """Return what every file of a copy says of its backup; what changes is brought up to date by retention."""
    return {
        BACKUP_PROPERTY: backup.backup_id,
        CREATED_PROPERTY: backup.created_at.astimezone(UTC).isoformat(),
        VERIFICATION_PROPERTY: backup.verification_state,
        PINNED_PROPERTY: "yes" if backup.is_pinned else "no",
    }


def upload_backup(
    settings: Settings,
    store: DriveStore,
    folder: RemoteFile,
    backup: Backup,
    *,
    execution: Execution,
    patience: Patience | None = None,
) -> tuple[DriveCopy, Sequence[Uploaded]]:
    """Upload a backup, or what is missing of it, and note its copy in its state.

    Args:
        settings: Size of a chunk.
        store: The drive.
        folder: From `use_folder`.
        backup: From `load_backup`.
        execution: Asked whether to stop; told the bytes.
        patience: With failing chunks; None is the usual one.

    Returns:
        The copy, and what this attempt did for each file.

    Raises:
        BackupDamaged: The archive is not what the manifest says; nothing was sent.
        DriveQuotaExceeded: It does not fit; says how much is missing, nothing was sent.
        UploadBusy: Another process uploads it.
        K9opsError: As `upload_file`.
    """
    with uploading(backup) as marks:
        files = _read_files(backup, execution)
        _check_room(store, folder, backup, files)
        done: list[Uploaded] = []
        total = sum(file.size_bytes for file in files)
        sent = 0
        for file in files:

            def report(confirmed: int, before: int = sent) -> None:
                execution.report_progress(before + confirmed, total, "bytes")

            options = UploadOptions(settings.drive_chunk_bytes, patience or Patience(), execution, report)
            memory = FileMemory(marks, file.name)
            done.append(upload_file(store, file, folder.file_id, memory=memory, options=options))
            sent += file.size_bytes
        copy = note_copy(backup, folder, [item.file for item in done])
        marks.unlink(missing_ok=True)
    log.info(
        "backup.uploaded",
        backup_id=backup.backup_id,
        files=len(files),
        size_bytes=total,
        sent_bytes=sum(item.sent_bytes for item in done),
    )
    return copy, done


def note_copy(backup: Backup, folder: RemoteFile, files: Sequence[RemoteFile]) -> DriveCopy:
    """Note in a backup's state that these files, whose digests were compared, are its copy."""
    noted = tuple(
        CopiedFile(
            name=file.name, file_id=file.file_id, size_bytes=file.size_bytes or 0, sha256=file.sha256, md5=file.md5
        )
        for file in files
    )
    copy = DriveCopy(folder_id=folder.file_id, at=datetime.now(UTC), files=noted)
    update_state(backup, lambda state: state.model_copy(update={"drive_copy": copy}))
    return copy


def _read_files(backup: Backup, execution: Execution) -> list[LocalFile]:
    digests, files = digests_of(backup), []
    for path in files_of(backup):
        file = read_local_file(path, properties=_notes_of_file(backup, path), execution=execution)
        if file.sha256 != digests.get(path, file.sha256):
            what = "archive" if path == backup.archive_path else f"file {path.name}"
            raise BackupDamaged(
                f"The {what} of backup {backup.backup_id} is not what its manifest says; it is not uploaded.",
                expected=digests[path],
                found=file.sha256,
            )
        files.append(file)
    return files


def _notes_of_file(backup: Backup, path: Path) -> dict[str, str]:
    """Return what a file on Google Drive says of its backup; a pack belongs to nobody but itself."""
    return {BACKUP_PROPERTY: path.name.partition(".")[0]} if is_of_pack(path.name) else notes_of(backup)


def _check_room(store: DriveStore, folder: RemoteFile, backup: Backup, files: Sequence[LocalFile]) -> None:
    if folder.shared_drive_id is not None:
        return  # the room of an account says nothing about a shared drive
    there = store.list_files(folder.file_id)
    needed = sum(file.size_bytes for file in files if not any(file.is_copied_in(found) for found in there))
    quota = store.read_quota()
    if quota.free_bytes is None or quota.limit_bytes is None or needed <= quota.free_bytes:
        return
    raise DriveQuotaExceeded(
        f"Google Drive of {quota.account} has {format_bytes(quota.free_bytes)} free of"
        f" {format_bytes(quota.limit_bytes)}; backup {backup.backup_id} needs {format_bytes(needed)}:"
        f" {format_bytes(needed - quota.free_bytes)} are missing.",
        needed_bytes=needed,
        free_bytes=quota.free_bytes,
    )
