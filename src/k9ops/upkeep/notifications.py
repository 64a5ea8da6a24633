"""Deleting read notifications that are old, in small transactions, so that the application keeps its latency."""

from __future__ import annotations

import contextlib
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, Engine, Row, text
from sqlalchemy.exc import DBAPIError, OperationalError

from k9ops.config.logging import get_logger
from k9ops.config.settings import Settings
from k9ops.db.application import inspect_application
from k9ops.db.engine import database_errors
from k9ops.outcome import Execution, Outcome, skipped
from k9ops.slot import parse_slot

_LOG = get_logger("k9ops.upkeep")
_FIRST = (datetime(1, 1, 1), uuid.UUID(int=0))  # noqa: DTZ001 (the column has no time zone)
_STOP_POLL_S = 0.2

# Batches follow the index on created_at from a moving floor: a batch that started from the oldest row again would
# walk over all the dead entries of the batches before it. Rows are found again by their place, without an index; one
# that the application changes in between stays, or is looked at again, as PostgreSQL's version has it.
_BATCH = """
    WITH batch AS MATERIALIZED (
        SELECT ctid AS place, id, created_at FROM public.notification
        WHERE read AND created_at < :cutoff AND (created_at, id) > (:floor_at, :floor_id)
        ORDER BY created_at, id LIMIT :batch_rows {lock}),
    gone AS (
        DELETE FROM public.notification
        WHERE ctid = ANY(ARRAY(SELECT place FROM batch)) AND read AND created_at < :cutoff RETURNING 1)
    SELECT created_at, id, (SELECT count(*) FROM gone) AS deleted FROM batch
    ORDER BY created_at DESC, id DESC LIMIT 1
"""
_DELETE_BATCH = text(_BATCH.format(lock=""))
# Locking each row before it is deleted would write twice as much, so only a batch with a row that somebody holds does.
_DELETE_FREE_OF_BATCH = text(_BATCH.format(lock="FOR UPDATE SKIP LOCKED"))
_WAIT_BRIEFLY = text("SET lock_timeout = '20ms'")
# A page that is touched for the first time after a checkpoint goes into the WAL as a whole, and the commits of the
# application wait for that to be written. Only superusers, and roles granted it, may set this.
_WRITE_LESS = text("SET wal_compression = lz4")

_COUNT = text("SELECT count(*) FROM public.notification WHERE read AND created_at < :cutoff")


def clean_notifications(
    settings: Settings, engine: Engine, *, execution: Execution, slot: str | None, dry_run: bool = False
) -> Outcome:
    """Delete notifications that were read and are older than the retention; unread ones stay, whatever their age.

    `read IS NULL` counts as unread. Each batch commits, so what a killed run has deleted stays deleted, and the next
    attempt goes on from there.

    Args:
        settings: Retention in days, rows in a batch, pause between batches.
        engine: The application's database.
        execution: Asked between batches whether to stop; told the rows deleted.
        slot: Due moment, ISO 8601 with offset: ages are counted from it; None counts from when the run was asked for.
        dry_run: Only count.

    Returns:
        `succeeded` with the rows deleted, `skipped` when there was none, or `partial` when none could be deleted.

    Raises:
        DatabaseInvalid: The application's table is missing.
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    moment = parse_slot(slot) or execution.requested_at
    cutoff = (moment - timedelta(days=settings.notification_retention_days)).astimezone(UTC).replace(tzinfo=None)
    with database_errors(), engine.begin() as connection:
        inspect_application(connection).require("notification", "id", "read", "created_at")
        total: int = connection.scalar(_COUNT, {"cutoff": cutoff}) or 0
    evidence: dict[str, Any] = {"cutoff": f"{cutoff.isoformat()}Z", "found": total}
    if total == 0:
        return skipped("No read notification is old enough.", **evidence)
    if dry_run:
        return skipped(f"{total} read notifications would go.", **evidence)
    deleted, batches = _delete_all(settings, engine, cutoff, total, execution)
    _LOG.info("notifications.deleted", deleted=deleted, batches=batches, found=total)
    evidence |= {"deleted": deleted, "batches": batches}
    if not deleted:
        return Outcome(
            "partial", f"None of {total} old read notifications could be deleted: others hold them.", evidence
        )
    return Outcome("succeeded", f"{deleted} of {total} old read notifications are deleted.", evidence)


def _delete_all(
    settings: Settings, engine: Engine, cutoff: datetime, total: int, execution: Execution
) -> tuple[int, int]:
    floor_at, floor_id = _FIRST
    deleted = batches = 0
    # Each statement is a transaction of its own, in one round trip to the server, and synced: what it leaves unwritten,
    # the next commit of the application would have to wait for.
    with database_errors(), engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.detach()  # its settings are for this alone
        connection.execute(_WAIT_BRIEFLY)
        with contextlib.suppress(DBAPIError):  # not allowed, or built without it
            connection.execute(_WRITE_LESS)
        while True:
            execution.check_stop()
            values = {
                "cutoff": cutoff,
                "floor_at": floor_at,
                "floor_id": floor_id,
                "batch_rows": settings.notification_batch_rows,
            }
            last = _delete_batch(connection, values)
            if last is None:
                return deleted, batches
            floor_at, floor_id = last.created_at, last.id
            deleted, batches = deleted + last.deleted, batches + 1
            execution.report_progress(deleted, total, "rows")
            _pause(settings.notification_pause_s, execution)


def _delete_batch(connection: Connection, values: dict[str, Any]) -> Row[Any] | None:
    """Delete a batch, without the rows that somebody holds, and return where it ends; None when nothing is left."""
    try:
        return connection.execute(_DELETE_BATCH, values).first()
    except OperationalError as exc:
        if not isinstance(exc.orig, LockNotAvailable):
            raise
    connection.execute(text("RESET lock_timeout"))
    last = connection.execute(_DELETE_FREE_OF_BATCH, values).first()
    connection.execute(_WAIT_BRIEFLY)
    return last


def _pause(pause_s: float, execution: Execution) -> None:
    ends_at_s = time.monotonic() + pause_s
    while (left_s := ends_at_s - time.monotonic()) > 0:
        execution.check_stop()
        time.sleep(min(left_s, _STOP_POLL_S))
