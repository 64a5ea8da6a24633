"""The upload job, and retention with Google Drive in view: what is wanted, what is told, the evidence."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine

from k9ops.backups.application import explain, read_wishes, tell_application
from k9ops.backups.catalogue import Backup, list_backups, load_backup
from k9ops.backups.create import format_bytes
from k9ops.backups.drive_access import look_for_folder, open_drive, use_folder
from k9ops.backups.drive_copies import (
    RemoteBackup,
    delete_copy,
    find_hold,
    list_copies,
    plan_deletion,
    update_notes,
)
from k9ops.backups.drive_packs import delete_packs, find_unreferenced_packs
from k9ops.backups.retention import RetentionPolicy, RetentionReport, apply_retention
from k9ops.backups.upload import upload_backup
from k9ops.config.settings import Settings
from k9ops.db.backup_settings import BackupSettings
from k9ops.errors import BackupDamaged, BackupNotFound, K9opsError, RunInterrupted
from k9ops.outcome import Execution, FollowUp, Outcome, skipped


def upload(
    settings: Settings, engine: Engine, *, execution: Execution, backup_id: str, only_if_enabled: bool
) -> Outcome:
    """Bring a backup to Google Drive, tell the web application, and ask for retention.

    An unverified backup goes there too: it is whole, and may be the only copy outside of the building. One that did
    not pass its verification does not. What an outage of Drive has left behind follows, one after the other.

    Args:
        settings: Folder, address, chunks.
        engine: The database with the wishes and the credentials.
        execution: Asked whether to stop; told the bytes.
        backup_id: Id of a backup in the folder.
        only_if_enabled: Skip when Drive is switched off in the application.

    Raises:
        K9opsError: As `open_drive`, `use_folder` and `upload_backup`; the web application has been told.
    """
    wishes = read_wishes(engine)
    if only_if_enabled and not wishes.google_drive_enabled:
        return skipped("Google Drive is switched off in the application's backup settings.")
    try:
        try:
            backup = load_backup(settings.backup_dir, backup_id)
        except BackupNotFound:
            if not only_if_enabled:
                raise
            return skipped(f"Backup {backup_id} is no longer in the folder.")
        if backup.verification_state == "failed":
            raise BackupDamaged(f"Backup {backup.backup_id} did not pass its verification; it is not uploaded.")
        with open_drive(settings, engine, execution=execution) as store:
            folder = use_folder(settings, engine, wishes, store)
            copy, done = upload_backup(settings, store, folder, backup, execution=execution)
    except RunInterrupted:
        raise
    except Exception as exc:
        message = f"Backup {backup_id} is not on Google Drive: {explain(exc)}"
        tell_application(engine, "partial", message, about=backup_id)
        raise
    size = format_bytes(sum(file.size_bytes for file in copy.files))
    message = f"Backup {backup.backup_id} ({size}) is on Google Drive, compared with what is here."
    is_verified = backup.verification_state == "verified"
    if not is_verified:
        message += f" It is not verified: {backup.state.verification.reason or 'not tried yet.'}"
    tell_application(engine, "success" if is_verified else "partial", message, about=backup.backup_id)
    evidence = {
        "backup_id": backup.backup_id,
        "verification": backup.verification_state,
        "folder_id": copy.folder_id,
        "files": [file.model_dump(mode="json") for file in copy.files],
        "sent_bytes": sum(item.sent_bytes for item in done),
        "found_on_drive": sum(item.is_found for item in done),
    }
    follow_ups = [FollowUp("apply_retention", {})]
    missing = _find_missing(settings, backup)
    if missing is not None:
        params = {"backup_id": missing.backup_id, "only_if_enabled": only_if_enabled}
        follow_ups.append(FollowUp("upload_backup", params))
    return Outcome("succeeded", message, evidence, follow_ups=tuple(follow_ups))


def _find_missing(settings: Settings, uploaded: Backup) -> Backup | None:
    """Return the newest verified backup before another one that has no copy yet."""
    for backup in list_backups(settings.backup_dir).backups:
        is_older = backup.created_at < uploaded.created_at
        if is_older and backup.verification_state == "verified" and backup.state.drive_copy is None:
            return backup
    return None


@dataclass
class DriveReport:
    """What became of the copies on Google Drive.

    Attributes:
        kept: How many stay; None when Drive could not be asked.
        deleted: Copies that went, or would with `dry_run`, each with its reason.
        packs: Names of the files of packs that went with them.
        problem: Why not everything was done, for a person.
    """

    kept: int | None = None
    deleted: list[tuple[RemoteBackup, str]] = field(default_factory=list)
    packs: list[str] = field(default_factory=list)
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the evidence, JSON values."""
        deleted = [{"backup_id": copy.backup_id, "reason": reason} for copy, reason in self.deleted]
        return {"deleted": deleted, "packs": self.packs, "kept": self.kept, "problem": self.problem}


def retain_everywhere(
    settings: Settings,
    engine: Engine,
    policy: RetentionPolicy,
    wishes: BackupSettings,
    *,
    execution: Execution,
    dry_run: bool,
) -> tuple[RetentionReport, DriveReport | None]:
    """Apply the policy to the folder and, where Drive is switched on, to the copies there.

    A Drive that is away holds back what has no newer copy there, and nothing else fails.

    Args:
        settings: Folder, time zone, whether a copy is required.
        engine: The database with the credentials.
        policy: For both.
        wishes: Whether Drive is switched on.
        execution: Asked whether to stop.
        dry_run: Only say what would go.

    Returns:
        What became of the folder, and of the copies; None for these where Drive is off.

    Raises:
        PolicyInvalid: As `plan_retention` says; nothing is deleted.
    """
    now = datetime.now(UTC)
    if not wishes.google_drive_enabled:
        return apply_retention(settings, policy, now=now, dry_run=dry_run), None
    backups = list_backups(settings.backup_dir).backups
    with ExitStack() as stack:
        report, copies, store = DriveReport(), tuple[RemoteBackup, ...](), None
        try:
            store = stack.enter_context(open_drive(settings, engine, execution=execution))
            copies = list_copies(store, look_for_folder(settings, engine, wishes, store))
            copies = copies if dry_run else update_notes(store, backups, copies)
        except RunInterrupted:
            raise
        except K9opsError as exc:
            report.problem = exc.user_message

        def hold(backup: Backup) -> str | None:
            return find_hold(backup, backups, copies) if settings.drive_required else None

        local = apply_retention(settings, policy, now=now, dry_run=dry_run, find_hold=hold)
        if store is None or report.problem:
            return local, report
        kept = {decision.backup.backup_id for decision in local.kept}
        report.kept = len(copies)
        try:
            known = {backup.backup_id for backup in backups}
            planned = plan_deletion(copies, policy, local=known, kept=kept, now=now, zone=settings.zone)
            for copy, reason in planned:
                execution.check_stop()
                if not dry_run:
                    delete_copy(store, copy, reason)
                report.deleted.append((copy, reason))
                report.kept -= 1
            gone = {copy.backup_id for copy, _ in report.deleted}
            staying = [copy for copy in copies if copy.backup_id not in gone]
            packs = find_unreferenced_packs(store, staying, backups, now=now)
            if not dry_run:
                delete_packs(store, packs)
            report.packs = [file.name for file in packs]
        except RunInterrupted:
            raise
        except K9opsError as exc:
            report.problem = exc.user_message
        return local, report
