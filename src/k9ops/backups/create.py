"""Making a backup: one pass from an exported snapshot to a file that is whole and known by its digest."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

from sqlalchemy.engine import Engine

from k9ops.backups.archives import ArchiveWriter, check_digest
from k9ops.backups.catalogue import (
    Backup,
    archive_path,
    list_backups,
    load_backup,
    manifest_path,
    partial_path,
    read_state,
    state_path,
    sweep,
)
from k9ops.backups.clients import PostgresClient, choose_client, find_clients
from k9ops.backups.connections import DatabaseTarget, target_of
from k9ops.backups.keys import PrivateKeys
from k9ops.backups.manifest import BackupState, Compression, Encryption, Manifest, encode, major_of
from k9ops.backups.programs import run_program
from k9ops.backups.snapshot import Snapshot, open_snapshot
from k9ops.backups.uploads_packs import packs_held
from k9ops.backups.uploads_read import check_uploads_digests
from k9ops.backups.uploads_write import store_uploads
from k9ops.config.logging import get_logger
from k9ops.config.settings import Settings
from k9ops.durable import BUSY_MESSAGE, fsync_folder, is_being_written, open_folder, open_partial, write_durably
from k9ops.errors import BackupDamaged, BackupNotFound, ClientFailed, DiskFull, TransientError
from k9ops.outcome import Execution

_PIPE_COMPRESSION: Compression = "zstd-stream"
_CLIENT_COMPRESSION: Compression = "zstd"

# An archive grows little from one backup to the next; the first is seldom half of the database.
_GROWTH = 1.25
_FIRST_SHARE = 0.5

log = get_logger("k9ops.backups")


@dataclass(frozen=True)
class _Plan:
    """What is decided before the first byte is written."""

    backup_id: str
    folder: Path
    client: PostgresClient
    compression: Compression
    snapshot: Snapshot
    expected_bytes: int
    started_at: datetime
    recipients: tuple[str, ...]
    one_off_recipient: str | None


def create_backup(
    settings: Settings,
    engine: Engine,
    *,
    backup_id: str,
    execution: Execution,
    one_off_key: PrivateKeys | None = None,
) -> Backup:
    """Back up the engine's database, and the uploads folder if there is one, encrypted where recipients are set.

    Called again with the same id it returns the backup that is there already, if that is whole.

    Args:
        settings: Folder, client, limits, recipients.
        engine: Its URL names the database; the work is done in a connection of its own.
        backup_id: From `make_backup_id`.
        execution: Asked whether to stop; told the bytes written.
        one_off_key: Opens an encrypted backup too, so that this process can prove it; from `make_one_off_key`.

    Raises:
        ClientUnsuitable: No pg_dump here suits the server; nothing was written.
        DiskFull: Too little room.
        DatabaseUnavailable: The server does not answer.
        DatabaseInvalid: The role may not read a table.
        ClientFailed: pg_dump ended with an error, or moved nothing for too long.
        TransientError: Another process is writing the same backup.
    """
    started_at = datetime.now(UTC)
    folder = open_folder(settings.backup_dir)
    sweep(folder)
    with open_partial(partial_path(folder, backup_id)) as file:
        if any(is_being_written(archive_path(folder, backup_id, is_encrypted=flag)) for flag in (False, True)):
            raise TransientError(BUSY_MESSAGE, backup_id=backup_id)
        existing = _find_whole(folder, backup_id, execution)
        if existing is not None:
            log.info("backup.reused", backup_id=backup_id)
            return existing
        target = target_of(engine.url, settings)
        with open_snapshot(target, lock_wait_s=settings.backup_stall_s, execution=execution) as (session, snapshot):
            plan = _make_plan(settings, folder, backup_id, snapshot, started_at, one_off_key)
            manifest = _write_archive(settings, plan, file, target=target.at_host_of(session), execution=execution)
        backup = _publish_with_uploads(settings, folder, manifest, execution)
    log.info(
        "backup.created",
        backup_id=backup_id,
        size_bytes=manifest.size_bytes,
        tables=len(manifest.tables),
        rows=manifest.row_count,
        compression=manifest.compression,
        recipients=len(settings.recipients),
        files=backup.manifest.uploads.files if backup.manifest.uploads else None,
        duration_s=round((manifest.finished_at - started_at).total_seconds(), 3),
    )
    return backup


def _find_whole(folder: Path, backup_id: str, execution: Execution) -> Backup | None:
    try:
        backup = load_backup(folder, backup_id)
        check_digest(backup, execution=execution)
        check_uploads_digests(backup, execution=execution)
    except (BackupNotFound, BackupDamaged):
        return None
    return backup


def _make_plan(
    settings: Settings,
    folder: Path,
    backup_id: str,
    snapshot: Snapshot,
    started_at: datetime,
    one_off_key: PrivateKeys | None,
) -> _Plan:
    client = choose_client(find_clients(settings), server_major=major_of(snapshot.server_version))
    compression = _CLIENT_COMPRESSION if client.has_zstd() else _PIPE_COMPRESSION
    expected_bytes = _expect_bytes(folder, snapshot)
    needed_bytes = expected_bytes + settings.backup_min_free_bytes
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise DiskFull(
            f"The backup needs {format_bytes(needed_bytes)} in its folder (with the room to be left);"
            f" {format_bytes(free_bytes)} are free.",
            folder=str(folder),
        )
    return _Plan(
        backup_id,
        folder,
        client,
        compression,
        snapshot,
        expected_bytes,
        started_at,
        recipients=settings.recipients,
        one_off_recipient=one_off_key.public_keys[0] if one_off_key and settings.recipients else None,
    )


def _expect_bytes(folder: Path, snapshot: Snapshot) -> int:
    for backup in list_backups(folder).backups:
        if backup.manifest.database == snapshot.database:
            return int(backup.size_bytes * _GROWTH)
    return int(snapshot.size_bytes * _FIRST_SHARE)


def _write_archive(
    settings: Settings, plan: _Plan, file: BinaryIO, *, target: DatabaseTarget, execution: Execution
) -> Manifest:
    recipients = [*plan.recipients, *filter(None, [plan.one_off_recipient])]
    with contextlib.closing(ArchiveWriter(file, plan.compression, recipients)) as writer:

        def store(chunk: memoryview) -> None:
            writer.write(chunk)
            execution.report_progress(writer.size_bytes, max(writer.size_bytes, plan.expected_bytes), "bytes")

        result = run_program(
            [
                plan.client.pg_dump,
                "--format=custom",
                "--compress=zstd:3" if plan.compression == _CLIENT_COMPRESSION else "--compress=0",
                f"--snapshot={plan.snapshot.snapshot_id}",
            ],
            target=target,
            execution=execution,
            stall_s=settings.backup_stall_s,
            memory_mb=settings.backup_client_memory_mb,
            sink=store,
        )
        if result.return_code != 0:
            raise ClientFailed(
                f"pg_dump ended with an error: {result.problem}.",
                return_code=result.return_code,
                messages=result.messages,
            )
        sha256 = writer.finish()
    return _describe(plan, writer, sha256)


def _describe(plan: _Plan, writer: ArchiveWriter, sha256: str) -> Manifest:
    snapshot, encryption = plan.snapshot, None
    if plan.recipients:
        encryption = Encryption(
            recipients=plan.recipients,
            one_off_recipient=plan.one_off_recipient,
            plain_sha256=writer.plain_sha256,
            plain_size_bytes=writer.plain_size_bytes,
        )
    return Manifest(
        manifest_version=3 if snapshot.audit else 2 if encryption else 1,
        backup_id=plan.backup_id,
        database=snapshot.database,
        shape=snapshot.shape,
        server_version=snapshot.server_version,
        client_version=plan.client.version,
        snapshot_at=snapshot.taken_at.astimezone(UTC),
        started_at=plan.started_at,
        finished_at=datetime.now(UTC),
        size_bytes=writer.size_bytes,
        sha256=sha256,
        compression=plan.compression,
        uncompressed_bytes=writer.received_bytes if plan.compression == _PIPE_COMPRESSION else None,
        tables=snapshot.tables,
        schema_revision=snapshot.schema_revision,
        owners=snapshot.owners,
        grantees=snapshot.grantees,
        k9ops_version=version("k9ops"),
        encryption=encryption,
        audit=snapshot.audit,
    )


def _publish_with_uploads(settings: Settings, folder: Path, manifest: Manifest, execution: Execution) -> Backup:
    """Store the uploads after the database: a file that a row names is there, unless it was deleted in between."""
    if settings.uploads_dir is None:
        return _publish(folder, manifest)
    one_off = manifest.encryption.one_off_recipient if manifest.encryption else None
    with packs_held(folder):
        uploads = store_uploads(
            settings.uploads_dir,
            folder,
            backup_id=manifest.backup_id,
            recipients=settings.recipients,
            one_off=[one_off] if one_off else [],
            execution=execution,
        )
        least_version = max(manifest.manifest_version, 2)
        changes = {"manifest_version": least_version, "uploads": uploads, "finished_at": datetime.now(UTC)}
        return _publish(folder, manifest.model_copy(update=changes))


def _publish(folder: Path, manifest: Manifest) -> Backup:
    """Give the archive its final name, then write the manifest.

    A manifest that is there describes a damaged archive, and goes first, so that no manifest ever stands beside
    an archive that is not its own. A pin stays. An archive of an earlier attempt, made when the settings were others,
    goes: encryption would be worth little beside it.
    """
    backup_id = manifest.backup_id
    old_state, _ = read_state(folder, backup_id)
    state = BackupState(pinned_at=old_state.pinned_at, pinned_reason=old_state.pinned_reason)
    manifest_path(folder, backup_id).unlink(missing_ok=True)
    if state_path(folder, backup_id).exists():
        write_durably(state_path(folder, backup_id), encode(state))
    is_encrypted = manifest.encryption is not None
    partial_path(folder, backup_id).rename(archive_path(folder, backup_id, is_encrypted=is_encrypted))
    archive_path(folder, backup_id, is_encrypted=not is_encrypted).unlink(missing_ok=True)
    fsync_folder(folder)
    write_durably(manifest_path(folder, backup_id), encode(manifest))
    return Backup(folder, manifest, state)


def format_bytes(count: int) -> str:
    """Return a size for a person, e.g. `1.5 GB`."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
