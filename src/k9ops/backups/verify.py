"""Proving that a backup restores: into a scratch database, every table counted, compared with the manifest."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from k9ops.backups.archives import check_digest, check_key
from k9ops.backups.catalogue import Backup, read_state, update_state
from k9ops.backups.connections import Session, open_session, target_of
from k9ops.backups.databases import server_version
from k9ops.backups.drills import find_drill, record_drill
from k9ops.backups.keys import PrivateKeys, find_keys_of
from k9ops.backups.manifest import Verification, fingerprint, major_of
from k9ops.backups.restoring import compare_rows, describe_differences, restore_archive
from k9ops.backups.scratch import drop_stale_scratch_databases, scratch_database
from k9ops.backups.uploads_read import check_uploads_digests, verify_uploads
from k9ops.config.logging import get_logger
from k9ops.config.settings import Settings
from k9ops.errors import BackupDamaged, DatabaseInvalid
from k9ops.outcome import Execution

# A scratch database need not survive a power cut, nor its objects belong to anybody.
_SCRATCH_OPTIONS = "-c synchronous_commit=off"
_RESTORE_OPTIONS = ("--no-owner", "--no-privileges", "--no-subscriptions")

log = get_logger("k9ops.backups")


def verify_backup(
    settings: Settings, backup: Backup, *, execution: Execution, keys: PrivateKeys | None = None
) -> Verification:
    """Restore a backup, compare it with its manifest, and store what came out.

    What stops the attempt itself, e.g. a server that went away, is raised and changes nothing that is stored.
    An encrypted backup that no key here opens is only read: its digest can be proven, and what its own process
    proved with the one-off key holds for the same bytes.

    Args:
        settings: Server to restore on, client, limits.
        backup: From `load_backup` or `create_backup`.
        execution: Asked whether to stop; told the bytes restored.
        keys: Open an encrypted backup; None takes those of `K9OPS_BACKUP_IDENTITY_FILE`.

    Returns:
        `verified`; `failed` when the archive or the restored rows are not those of the manifest; `unverified`,
        with the reason, when this server cannot tell, or no private key is known to open the backup.

    Raises:
        DatabaseUnavailable: The server does not answer.
        ClientUnsuitable: No pg_restore here suits.
        ClientFailed: pg_restore failed for a reason that is not the archive's.
        BackupNotFound: It was deleted meanwhile.
        KeyUnsuitable: The keys are others than those of the backup; this says nothing about it.
    """
    started = time.monotonic()
    keys = find_keys_of(settings, backup.manifest, keys)
    try:
        if backup.is_encrypted and keys is None:
            verification = _verify_without_key(backup, execution)
        else:
            verification = _verify(settings, backup, execution, keys)
    except BackupDamaged as exc:
        verification = Verification(state="failed", reason=exc.user_message)
    if verification.at is None:
        verification = verification.model_copy(
            update={
                "at": datetime.now(UTC),
                "duration_s": round(time.monotonic() - started, 3),
                "manifest_sha256": fingerprint(backup.manifest),
            }
        )
    update_state(backup, lambda state: state.model_copy(update={"verification": verification}))
    if verification.state != "failed" and verification.opened_with == "private_key" and keys is not None:
        record_drill(backup.folder, keys.public_keys, backup.backup_id)
    _log(backup, verification)
    return verification


def _verify_without_key(backup: Backup, execution: Execution) -> Verification:
    """Prove that the files are unchanged; what was restored from the same files before still holds."""
    check_digest(backup, execution=execution)
    check_uploads_digests(backup, execution=execution)
    state, _ = read_state(backup.folder, backup.backup_id)
    stored = state.verification
    is_of_this = stored.manifest_sha256 == fingerprint(backup.manifest)
    if is_of_this and stored.opened_with == "one_off_key" and stored.state != "failed":
        return _judge(backup, stored)
    if is_of_this and stored.opened_with is not None:
        return stored
    before = f" {stored.reason}" if is_of_this and stored.state == "unverified" and stored.reason else ""
    return Verification(
        reason="It is encrypted, and there is no private key here: its digest is right, which is all that can be told."
        f" `k9ops backup verify {backup.backup_id} --identity FILE` restores it.{before}"
    )


def _judge(backup: Backup, restored: Verification) -> Verification:
    """Decide what a restore in which nothing differed is worth.

    With the one-off key it proves everything but that the recipients' private keys exist; and a set that lacks
    files must not make retention delete those that have them.
    """
    uploads, encryption = backup.manifest.uploads, backup.manifest.encryption
    if uploads is not None and uploads.problem is not None:
        return restored.model_copy(update={"state": "unverified", "reason": uploads.problem})
    is_one_off = restored.opened_with == "one_off_key" and encryption is not None
    if is_one_off and encryption is not None and find_drill(backup.folder, encryption.recipients) is None:
        reason = (
            "It was restored from its encrypted file with a one-off key, and every table compared; but no private key"
            f" of its recipients has opened any backup yet. `k9ops backup verify {backup.backup_id} --identity FILE`"
            " does."
        )
        return restored.model_copy(update={"state": "unverified", "reason": reason})
    return restored.model_copy(update={"state": "verified", "reason": None})


def _verify(settings: Settings, backup: Backup, execution: Execution, keys: PrivateKeys | None) -> Verification:
    target = target_of(settings.sqlalchemy_verify_url, settings)
    with open_session(target) as session:
        drop_stale_scratch_databases(session)
        check_digest(backup, execution=execution)
        check_key(backup, keys)
        check_uploads_digests(backup, execution=execution)
        found_version = server_version(session)
        if major_of(found_version) != backup.manifest.server_major:
            return Verification(
                reason=f"It is of PostgreSQL {backup.manifest.server_version}; the server for verification is"
                f" {found_version}. Set K9OPS_VERIFY_DATABASE_URL to a server of the same major version."
            )
        try:
            with scratch_database(session, backup.manifest.shape) as name:
                found = _restore_and_compare(settings, backup, session, name, execution, keys)
        except DatabaseInvalid as exc:
            return Verification(
                reason=f"{exc.user_message} Let it (ALTER ROLE … CREATEDB) or set K9OPS_VERIFY_DATABASE_URL."
            )
    if found.state == "failed":
        return found
    uploads = verify_uploads(backup, keys, execution=execution)
    return _judge(backup, found.model_copy(update={"uploads": uploads}))


def _restore_and_compare(
    settings: Settings,
    backup: Backup,
    session: Session,
    name: str,
    execution: Execution,
    keys: PrivateKeys | None,
) -> Verification:
    target = target_of(settings.sqlalchemy_verify_url, settings).with_database(name)
    restore_archive(
        settings,
        backup,
        target.with_options(_SCRATCH_OPTIONS),
        session,
        options=_RESTORE_OPTIONS,
        execution=execution,
        keys=keys,
    )
    rows, differences = compare_rows(target, backup.manifest.tables, execution=execution)
    return Verification(
        state="failed" if differences else "verified",
        server_version=server_version(session),
        tables_compared=len(backup.manifest.tables),
        rows_compared=rows,
        differences=differences,
        opened_with=keys.kind if keys else None,
        reason=describe_differences(differences) if differences else None,
    )


def _log(backup: Backup, verification: Verification) -> None:
    facts = {
        "backup_id": backup.backup_id,
        "duration_s": verification.duration_s,
        "opened_with": verification.opened_with,
    }
    if verification.state == "verified":
        log.info("backup.verified", tables=verification.tables_compared, rows=verification.rows_compared, **facts)
    elif verification.state == "failed":
        log.error("backup.verification_failed", reason=verification.reason, **facts)
    else:
        log.warning("backup.unverified", reason=verification.reason, **facts)
