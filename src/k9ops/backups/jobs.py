"""The backup jobs as plain calls: what `backup_settings` wants and is told, and the evidence of each outcome."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Engine

from k9ops.backups.application import explain, has_readable_tokens, read_wishes, tell_application
from k9ops.backups.catalogue import Backup, load_backup, make_backup_id, update_state
from k9ops.backups.create import create_backup, format_bytes
from k9ops.backups.drive_jobs import DriveReport, retain_everywhere
from k9ops.backups.keys import PrivateKeys, make_one_off_key
from k9ops.backups.manifest import OpenedWith, UploadsVerification, Verification, fingerprint
from k9ops.backups.retention import RetentionPolicy, RetentionReport, note_arrivals
from k9ops.backups.tidying import tidy_databases
from k9ops.backups.verify import verify_backup
from k9ops.config.logging import get_logger
from k9ops.config.settings import Settings
from k9ops.db.backup_settings import BackupStatus
from k9ops.errors import (
    DatabaseInvalid,
    DatabaseUnavailable,
    K9opsError,
    PermanentError,
    RunInterrupted,
    TransientError,
)
from k9ops.outcome import Execution, FollowUp, Outcome, skipped
from k9ops.slot import parse_slot

_LOG = get_logger("k9ops.backups")
_WAYS: dict[OpenedWith | None, str] = {
    None: "",
    "private_key": " from its encrypted file with a private key",
    "one_off_key": " from its encrypted file with a one-off key when it was made, and the file is unchanged",
}


def create(
    settings: Settings, engine: Engine, *, execution: Execution, slot: str | None, only_if_enabled: bool
) -> Outcome:
    """Make a backup, tell the web application, and ask for its verification.

    An encrypted backup is restored at once, with a key that only this call has; the verification builds on that.

    Args:
        settings: Folder, limits.
        engine: The database to back up.
        execution: Its run gives the backup its id, so that another attempt finds what the first one made.
        slot: Due moment, ISO 8601 with offset; None takes the moment at which the run was asked for.
        only_if_enabled: Skip when automatic backups are switched off in the application.

    Raises:
        K9opsError: As `create_backup`; the web application has been told.
    """
    moment = parse_slot(slot) or execution.requested_at
    if only_if_enabled and not read_wishes(engine).wants_backups:
        return skipped("Automatic backups are switched off in the application's backup settings.")
    backup_id = make_backup_id(moment, execution.run_id)
    one_off_key = make_one_off_key() if settings.recipients else None
    try:
        backup = create_backup(settings, engine, backup_id=backup_id, execution=execution, one_off_key=one_off_key)
    except RunInterrupted:
        raise
    except Exception as exc:
        tell_application(engine, "failed", explain(exc))
        raise
    note_arrivals(backup.folder)
    size = format_bytes(backup.size_bytes)
    tell_application(engine, "partial", f"Backup {backup_id} ({size}) is made and not yet verified.")
    if one_off_key is not None:
        rehearse(settings, backup, one_off_key, execution=execution)
    problem = backup.manifest.uploads.problem if backup.manifest.uploads else None
    carries_tokens = has_readable_tokens(engine) and not backup.is_encrypted
    tables = len(backup.manifest.tables)
    sentences = [f"Backup {backup_id}: {size}, {backup.manifest.row_count} rows of {tables} tables"]
    sentences[0] += f"{_describe_uploads(backup)}."
    if problem:
        sentences.append(problem)
    if carries_tokens:
        sentences.append("It holds readable keys to Google Drive; `k9ops drive seal` ends that.")
    return Outcome(
        "partial" if problem else "succeeded",
        " ".join(sentences),
        describe_backup(backup) | {"carries_drive_tokens": carries_tokens},
        follow_ups=(FollowUp("verify_backup", {"backup_id": backup_id}),),
    )


def rehearse(settings: Settings, backup: Backup, one_off_key: PrivateKeys, *, execution: Execution) -> None:
    """Restore an encrypted backup while this process can still open it; why that failed is stored with the backup.

    A backup that an earlier attempt made stays as it is: its one-off key went with that attempt.
    """
    encryption = backup.manifest.encryption
    if encryption is None or encryption.one_off_recipient not in one_off_key.public_keys:
        return
    try:
        verify_backup(settings, backup, execution=execution, keys=one_off_key)
    except RunInterrupted:
        raise
    except K9opsError as exc:
        tried = Verification(
            at=datetime.now(UTC),
            reason=f"Restoring it with its one-off key failed: {exc.user_message}",
            manifest_sha256=fingerprint(backup.manifest),
        )
        update_state(backup, lambda state: state.model_copy(update={"verification": tried}))
        _LOG.warning("backup.unverified", backup_id=backup.backup_id, reason=tried.reason)


def verify(settings: Settings, engine: Engine, *, execution: Execution, backup_id: str) -> Outcome:
    """Restore a backup into a scratch database, compare it, tell the web application, and ask for what follows.

    Retention follows a verified backup; the upload follows also one that could not be verified here.

    Raises:
        K9opsError: As `load_backup` and `verify_backup`.
    """
    is_drive_wanted = read_wishes(engine).google_drive_enabled
    try:
        backup = load_backup(settings.backup_dir, backup_id)
        verification = verify_backup(settings, backup, execution=execution)
    except RunInterrupted:
        raise
    except Exception as exc:
        status: BackupStatus = "failed" if isinstance(exc, PermanentError) else "partial"
        tell_application(engine, status, f"Backup {backup_id} could not be verified: {explain(exc)}", about=backup_id)
        raise
    evidence = describe_verification(backup, verification)
    uploads = (FollowUp("upload_backup", {"backup_id": backup_id}),) if is_drive_wanted else ()
    if verification.state == "verified":
        message = (
            f"Backup {backup_id} was restored{_WAYS[verification.opened_with]}: {verification.rows_compared} rows of"
            f" {verification.tables_compared} tables are as in its manifest."
        )
        if verification.uploads is not None:
            message += _describe_files(verification.uploads)
        if is_drive_wanted:
            tell_application(engine, "partial", f"{message} It is not on Google Drive yet.", about=backup_id)
        else:
            tell_application(engine, "success", message, about=backup_id)
        return Outcome("succeeded", message, evidence, follow_ups=(*uploads, FollowUp("apply_retention", {})))
    reason = verification.reason or "It differs from its manifest."
    if verification.state == "unverified":
        message = f"Backup {backup_id} could not be verified: {reason}"
        tell_application(engine, "partial", message, about=backup_id)
        return Outcome("partial", message, evidence, follow_ups=uploads)
    message = f"Backup {backup_id} did not pass its verification: {reason}"
    tell_application(engine, "failed", message, about=backup_id)
    return Outcome("failed", message, evidence)


def retain(settings: Settings, engine: Engine, *, execution: Execution | None = None, dry_run: bool = False) -> Outcome:
    """Delete the backups that the policy no longer keeps, in the folder and on Google Drive, and expired databases.

    Those are former databases whose time as an undo is over.

    Args:
        settings: Counts for each period.
        engine: The application's `backup_settings` say how many days, and whether Drive is switched on.
        execution: Asked whether to stop; None never stops.
        dry_run: Only say which.
    """
    wishes = read_wishes(engine)
    policy = RetentionPolicy(
        daily=settings.backup_keep_daily,
        weekly=settings.backup_keep_weekly,
        monthly=settings.backup_keep_monthly,
        retention_days=wishes.retention_days,
    )
    report, drive = retain_everywhere(
        settings, engine, policy, wishes, execution=execution or Execution(), dry_run=dry_run
    )
    dropped = _tidy(settings, dry_run=dry_run)
    evidence = report.to_dict() | {"databases_dropped": list(dropped)} | ({"drive": drive.to_dict()} if drive else {})
    is_nothing = not report.deleted and not dropped and not (drive and (drive.deleted or drive.packs))
    if is_nothing and not (drive and drive.problem):
        return skipped(f"All {len(report.kept)} backups are kept by the policy.", **evidence)
    state: Literal["succeeded", "partial"] = "partial" if drive and drive.problem else "succeeded"
    return Outcome(state, _describe_retention(report, drive, dropped), evidence)


def _describe_retention(report: RetentionReport, drive: DriveReport | None, dropped: Sequence[str]) -> str:
    verb = "would go" if report.dry_run else "deleted"
    copies = f", and {len(drive.deleted)} copies on Google Drive" if drive and drive.deleted else ""
    sentences = [f"{len(report.deleted)} backups {verb}{copies}; {len(report.kept)} kept."]
    if dropped:
        sentences.append(f"Former databases {verb}: {', '.join(dropped)}.")
    if drive and drive.problem:
        sentences.append(f"What is on Google Drive stays for now: {drive.problem}")
    return " ".join(sentences)


def _tidy(settings: Settings, *, dry_run: bool) -> tuple[str, ...]:
    """Tidy the databases beside the live one; where that cannot be done now, it is logged and done the next time."""
    try:
        return tidy_databases(settings, actor="apply_retention", dry_run=dry_run).dropped
    except (DatabaseUnavailable, DatabaseInvalid, TransientError) as exc:
        _LOG.warning("databases.untidied", reason=exc.user_message)
        return ()


def _describe_uploads(backup: Backup) -> str:
    uploads = backup.manifest.uploads
    if uploads is None:
        return ""
    return f", {uploads.files} files of {format_bytes(uploads.size_bytes)} ({format_bytes(uploads.new_bytes)} new)"


def _describe_files(found: UploadsVerification) -> str:
    text = f" All {found.files} files of the uploads folder are in it"
    if found.contents_by_digest:
        return f"{text}; {found.contents_by_digest} contents in packs that are unchanged since they were read."
    return f"{text}."


def describe_backup(backup: Backup) -> dict[str, Any]:
    """Return the evidence of a backup, JSON values."""
    manifest = backup.manifest
    uploads = manifest.uploads
    files = (
        None if uploads is None else uploads.model_dump(mode="json", exclude={"packs"}) | {"packs": len(uploads.packs)}
    )
    return {
        "backup_id": backup.backup_id,
        "size_bytes": backup.size_bytes,
        "sha256": manifest.sha256,
        "compression": manifest.compression,
        "recipients": list(manifest.encryption.recipients) if manifest.encryption else [],
        "uploads": files,
        "tables": len(manifest.tables),
        "rows": manifest.row_count,
        "server_version": manifest.server_version,
        "client_version": manifest.client_version,
        "snapshot_at": manifest.snapshot_at.isoformat(),
        "duration_s": round((manifest.finished_at - manifest.started_at).total_seconds(), 3),
    }


def describe_verification(backup: Backup, verification: Verification) -> dict[str, Any]:
    """Return the evidence of a verification, JSON values."""
    return {"backup_id": backup.backup_id, "sha256": backup.manifest.sha256} | verification.model_dump(
        mode="json", exclude_none=True
    )
