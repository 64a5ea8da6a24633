"""Jobs of the queue `backups`."""

from __future__ import annotations

import dramatiq

from k9ops.backups import drive_jobs, jobs
from k9ops.config.settings import get_settings
from k9ops.db.engine import get_engine
from k9ops.ledger.execution import current_execution
from k9ops.outcome import Outcome

_SOFT_LIMIT_MS = get_settings().backup_soft_limit_s * 1000
_HARD_LIMIT_MS = get_settings().backup_hard_limit_s * 1000


@dramatiq.actor(
    actor_name="create_backup",
    queue_name="backups",
    priority=20,
    max_retries=4,
    min_backoff=60_000,
    max_backoff=1_800_000,
    soft_limit=_SOFT_LIMIT_MS,
    time_limit=_HARD_LIMIT_MS,
)
def create_backup(*, slot: str | None = None, only_if_enabled: bool = True) -> Outcome:
    """Dump the database, and start the verification of the dump.

    Args:
        slot: Due moment, ISO 8601 with offset; a slot has one backup.
        only_if_enabled: Skip when the application's backup settings switch automatic backups off.
    """
    return jobs.create(
        get_settings(),
        get_engine(),
        execution=current_execution(),
        slot=slot,
        only_if_enabled=only_if_enabled,
    )


@dramatiq.actor(
    actor_name="verify_backup",
    queue_name="backups",
    priority=20,
    max_retries=2,
    min_backoff=60_000,
    max_backoff=1_800_000,
    soft_limit=_SOFT_LIMIT_MS,
    time_limit=_HARD_LIMIT_MS,
)
def verify_backup(*, backup_id: str) -> Outcome:
    """Restore a backup into a scratch database and compare it with its manifest.

    Args:
        backup_id: Id of a backup in the backup folder.
    """
    return jobs.verify(get_settings(), get_engine(), execution=current_execution(), backup_id=backup_id)


@dramatiq.actor(
    actor_name="upload_backup",
    queue_name="backups",
    priority=20,
    # Over a slow line an upload takes many attempts, and each goes on where the one before was.
    max_retries=59,
    min_backoff=60_000,
    max_backoff=1_800_000,
    soft_limit=_SOFT_LIMIT_MS,
    time_limit=_HARD_LIMIT_MS,
)
def upload_backup(*, backup_id: str, only_if_enabled: bool = True) -> Outcome:
    """Bring a backup to Google Drive, or what is missing of it.

    Args:
        backup_id: Id of a backup in the backup folder.
        only_if_enabled: Skip when the application's backup settings switch Drive off.
    """
    return drive_jobs.upload(
        get_settings(),
        get_engine(),
        execution=current_execution(),
        backup_id=backup_id,
        only_if_enabled=only_if_enabled,
    )


@dramatiq.actor(
    actor_name="apply_retention",
    queue_name="backups",
    priority=20,
    max_retries=3,
    min_backoff=60_000,
    max_backoff=1_800_000,
    soft_limit=_SOFT_LIMIT_MS,
    time_limit=_HARD_LIMIT_MS,
)
def apply_retention() -> Outcome:
    """Delete the backups that the retention policy no longer keeps, here and on Google Drive."""
    return jobs.retain(get_settings(), get_engine(), execution=current_execution())
