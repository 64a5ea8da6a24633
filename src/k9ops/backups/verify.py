"""Proving that a backup restores: into a scratch database, every table counted, compared with the manifest."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from k9ops.backups.archives import check_digest
from k9ops.backups.catalogue import Backup, update_state
from k9ops.backups.connections import Session, open_session, target_of
from k9ops.backups.databases import server_version
from k9ops.backups.manifest import Verification, fingerprint, major_of
from k9ops.backups.restoring import compare_rows, describe_differences, restore_archive
from k9ops.backups.scratch import drop_stale_scratch_databases, scratch_database
from k9ops.config.logging import get_logger
from k9ops.config.settings import Settings
from k9ops.errors import BackupDamaged, DatabaseInvalid
from k9ops.outcome import Execution

# A scratch database need not survive a power cut, nor its objects belong to anybody.
_SCRATCH_OPTIONS = "-c synchronous_commit=off"
_RESTORE_OPTIONS = ("--no-owner", "--no-privileges", "--no-subscriptions")

log = get_logger("k9ops.backups")


def verify_backup(settings: Settings, backup: Backup, *, execution: Execution) -> Verification:
    """Restore a backup, compare it with its manifest, and store what came out.

    What stops the attempt itself, e.g. a server that went away, is raised and changes nothing that is stored.

    Args:
        settings: Server to restore on, client, limits.
        backup: From `load_backup` or `create_backup`.
        execution: Asked whether to stop; told the bytes restored.

    Returns:
        `verified`; `failed` when the archive or the restored rows are not those of the manifest; `unverified`,
        with the reason, when this server cannot tell.

    Raises:
        DatabaseUnavailable: The server does not answer.
        ClientUnsuitable: No pg_restore here suits.
        ClientFailed: pg_restore failed for a reason that is not the archive's.
        BackupNotFound: It was deleted meanwhile.
    """
    started = time.monotonic()
    try:
        verification = _verify(settings, backup, execution)
    except BackupDamaged as exc:
        verification = Verification(state="failed", reason=exc.user_message)
    verification = verification.model_copy(
        update={
            "at": datetime.now(UTC),
            "duration_s": round(time.monotonic() - started, 3),
            "manifest_sha256": fingerprint(backup.manifest),
        }
    )
    update_state(backup, lambda state: state.model_copy(update={"verification": verification}))
    _log(backup, verification)
    return verification


def _verify(settings: Settings, backup: Backup, execution: Execution) -> Verification:
    target = target_of(settings.sqlalchemy_verify_url, settings)
    with open_session(target) as session:
        drop_stale_scratch_databases(session)
        check_digest(backup, execution=execution)
        found_version = server_version(session)
        if major_of(found_version) != backup.manifest.server_major:
            return Verification(
                reason=f"It is of PostgreSQL {backup.manifest.server_version}; the server for verification is"
                f" {found_version}. Set K9OPS_VERIFY_DATABASE_URL to a server of the same major version."
            )
        try:
            with scratch_database(session, backup.manifest.shape) as name:
                return _restore_and_compare(settings, backup, session, name, execution)
        except DatabaseInvalid as exc:
            return Verification(
                reason=f"{exc.user_message} Let it (ALTER ROLE … CREATEDB) or set K9OPS_VERIFY_DATABASE_URL."
            )


def _restore_and_compare(
    settings: Settings, backup: Backup, session: Session, name: str, execution: Execution
) -> Verification:
    target = target_of(settings.sqlalchemy_verify_url, settings).with_database(name)
    restore_archive(
        settings,
        backup,
        target.with_options(_SCRATCH_OPTIONS),
        session,
        options=_RESTORE_OPTIONS,
        execution=execution,
    )
    rows, differences = compare_rows(target, backup.manifest.tables, execution=execution)
    return Verification(
        state="failed" if differences else "verified",
        server_version=server_version(session),
        tables_compared=len(backup.manifest.tables),
        rows_compared=rows,
        differences=differences,
        reason=describe_differences(differences) if differences else None,
    )


def _log(backup: Backup, verification: Verification) -> None:
    facts = {"backup_id": backup.backup_id, "duration_s": verification.duration_s}
    if verification.state == "verified":
        log.info("backup.verified", tables=verification.tables_compared, rows=verification.rows_compared, **facts)
    elif verification.state == "failed":
        log.error("backup.verification_failed", reason=verification.reason, **facts)
    else:
        log.warning("backup.unverified", reason=verification.reason, **facts)
