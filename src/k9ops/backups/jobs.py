"""The backup jobs as plain calls: what `backup_settings` wants and is told, and the evidence of each outcome."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from k9ops.backups.catalogue import Backup, load_backup, make_backup_id
from k9ops.backups.create import create_backup, format_bytes
from k9ops.backups.manifest import Verification
from k9ops.backups.retention import RetentionPolicy, apply_retention, note_arrivals
from k9ops.backups.tidying import tidy_databases
from k9ops.backups.verify import verify_backup
from k9ops.config.logging import get_logger
from k9ops.config.settings import Settings
from k9ops.db.application import inspect_application
from k9ops.db.backup_settings import BackupSettings, BackupStatus, read_backup_settings, write_backup_result
from k9ops.db.engine import database_errors
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
_TABLE = "backup_settings"


def create(
    settings: Settings, engine: Engine, *, execution: Execution, slot: str | None, only_if_enabled: bool
) -> Outcome:
    """Make a backup, tell the web application, and ask for its verification.

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
    try:
        backup = create_backup(settings, engine, backup_id=backup_id, execution=execution)
    except RunInterrupted:
        raise
    except Exception as exc:
        tell_application(engine, "failed", _explain(exc))
        raise
    note_arrivals(backup.folder)
    size = format_bytes(backup.size_bytes)
    tell_application(engine, "partial", f"Backup {backup_id} ({size}) is made and not yet verified.")
    return Outcome(
        "succeeded",
        f"Backup {backup_id}: {size}, {backup.manifest.row_count} rows of {len(backup.manifest.tables)} tables.",
        describe_backup(backup),
        follow_ups=(FollowUp("verify_backup", {"backup_id": backup_id}),),
    )


def verify(settings: Settings, engine: Engine, *, execution: Execution, backup_id: str) -> Outcome:
    """Restore a backup into a scratch database, compare it, tell the web application, and ask for retention.

    Raises:
        K9opsError: As `load_backup` and `verify_backup`.
    """
    try:
        backup = load_backup(settings.backup_dir, backup_id)
        verification = verify_backup(settings, backup, execution=execution)
    except RunInterrupted:
        raise
    except Exception as exc:
        status: BackupStatus = "failed" if isinstance(exc, PermanentError) else "partial"
        tell_application(engine, status, f"Backup {backup_id} could not be verified: {_explain(exc)}", about=backup_id)
        raise
    evidence = describe_verification(backup, verification)
    if verification.state == "verified":
        message = (
            f"Backup {backup_id} was restored: {verification.rows_compared} rows of"
            f" {verification.tables_compared} tables are as in its manifest."
        )
        tell_application(engine, "success", message, about=backup_id)
        return Outcome("succeeded", message, evidence, follow_ups=(FollowUp("apply_retention", {}),))
    reason = verification.reason or "It differs from its manifest."
    if verification.state == "unverified":
        message = f"Backup {backup_id} could not be verified: {reason}"
        tell_application(engine, "partial", message, about=backup_id)
        return Outcome("partial", message, evidence)
    message = f"Backup {backup_id} did not pass its verification: {reason}"
    tell_application(engine, "failed", message, about=backup_id)
    return Outcome("failed", message, evidence)


def retain(settings: Settings, engine: Engine, *, dry_run: bool = False) -> Outcome:
    """Delete the backups that the policy no longer keeps, and the former databases whose time as an undo is over.

    Args:
        settings: Counts for each period.
        engine: The application's `backup_settings` say how many days.
        dry_run: Only say which.
    """
    policy = RetentionPolicy(
        daily=settings.backup_keep_daily,
        weekly=settings.backup_keep_weekly,
        monthly=settings.backup_keep_monthly,
        retention_days=read_wishes(engine).retention_days,
    )
    report = apply_retention(settings, policy, now=datetime.now(UTC), dry_run=dry_run)
    dropped = _tidy(settings, dry_run=dry_run)
    evidence = report.to_dict() | {"databases_dropped": list(dropped)}
    deleted, kept = len(evidence["deleted"]), len(evidence["kept"])
    if not deleted and not dropped:
        return skipped(f"All {kept} backups are kept by the policy.", **evidence)
    verb = "would go" if dry_run else "deleted"
    databases = f" Former databases {verb}: {', '.join(dropped)}." if dropped else ""
    return Outcome("succeeded", f"{deleted} backups {verb}, {kept} kept.{databases}", evidence)


def _tidy(settings: Settings, *, dry_run: bool) -> tuple[str, ...]:
    """Tidy the databases beside the live one; where that cannot be done now, it is logged and done the next time."""
    try:
        return tidy_databases(settings, actor="apply_retention", dry_run=dry_run).dropped
    except (DatabaseUnavailable, DatabaseInvalid, TransientError) as exc:
        _LOG.warning("databases.untidied", reason=exc.user_message)
        return ()


def read_wishes(engine: Engine) -> BackupSettings:
    """Return the application's backup settings; the defaults when the application has no such table."""
    with database_errors(), engine.begin() as connection:
        schema = inspect_application(connection)
        return read_backup_settings(connection, schema) if schema.has(_TABLE) else BackupSettings()


def tell_application(engine: Engine, status: BackupStatus, message: str, *, about: str | None = None) -> None:
    """Write `backup_settings.last_backup_*`; a database that refuses it is logged and changes no outcome.

    Args:
        engine: The application's database.
        status: As the application knows them.
        message: One sentence for a person.
        about: Only if what the application shows is about this backup, or nothing: the verification of an old one
            must not cover up that a newer one failed.
    """
    try:
        with database_errors(), engine.begin() as connection:
            schema = inspect_application(connection)
            if not schema.has(_TABLE):
                return
            shown = read_backup_settings(connection, schema).last_backup_message
            if about is None or shown is None or about in shown:
                write_backup_result(connection, schema, at=datetime.now(UTC), status=status, message=message)
    except (DatabaseUnavailable, DBAPIError) as exc:
        _LOG.warning("application.untold", status=status, problem=str(exc))


def _explain(error: Exception) -> str:
    return error.user_message if isinstance(error, K9opsError) else f"Unexpected error ({type(error).__name__})."


def describe_backup(backup: Backup) -> dict[str, Any]:
    """Return the evidence of a backup, JSON values."""
    manifest = backup.manifest
    return {
        "backup_id": backup.backup_id,
        "size_bytes": backup.size_bytes,
        "sha256": manifest.sha256,
        "compression": manifest.compression,
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
