"""Pings to an outside dead man's switch: which runs began or ended since the last round."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from k9ops.config.settings import Settings

_TAIL_CHARACTERS = 8_000
# From the beginning of a transaction to its first write.
_MARGIN_S = 2.0

_MOVED = text("""
    SELECT id, job, state, started_at, finished_at, message, traceback FROM k9ops.run
    WHERE job = ANY(:jobs) AND finished_at > :since AND finished_at <= :now
    UNION ALL
    SELECT id, job, state, started_at, NULL, message, traceback FROM k9ops.run
    WHERE job = ANY(:jobs) AND state IN ('running', 'retrying') AND started_at > :since AND started_at <= :now
    UNION ALL
    SELECT id, job, state, started_at, NULL, message, traceback FROM k9ops.run
    WHERE job = ANY(:jobs) AND finished_at > :now AND started_at > :since AND started_at <= :now
    ORDER BY finished_at NULLS LAST, started_at
""")

# A run has the moment at which the transaction that ends it began, and can be seen when that is over. One that is not
# yet would be passed over for ever, as would all that ends in a moment by which this machine's clock is ahead. The
# application's own transactions, which may be long, hold nothing up: they do not write runs.
_SETTLED = text("""
    SELECT least(CAST(:now AS timestamptz), clock_timestamp() - make_interval(secs => :margin_s),
                 (SELECT min(xact_start) - interval '1 microsecond' FROM pg_stat_activity JOIN pg_locks USING (pid)
                  WHERE datname = current_database() AND relation = CAST('k9ops.run' AS regclass)
                    AND mode = 'RowExclusiveLock' AND pid <> pg_backend_pid()))
""")


def find_settled_moment(connection: Connection, *, now: datetime) -> datetime:
    """Return the moment up to which every run that has ended can be seen.

    Args:
        connection: To the ledger's database.
        now: By this machine's clock; aware.
    """
    moment: datetime = connection.execute(_SETTLED, {"now": now, "margin_s": _MARGIN_S}).scalar_one()
    return moment


def find_pings(
    connection: Connection, settings: Settings, *, since: datetime, now: datetime
) -> Iterator[dict[str, Any]]:
    """Yield the content of each ping, in the order in which things happened.

    A run that began and ended since then has both. `skipped` is a success: there was nothing to do. One that was
    cancelled has no end: what was meant to be done was not.
    """
    jobs = settings.pinged_jobs
    if not jobs:
        return
    for row in connection.execute(_MOVED, {"jobs": list(jobs), "since": since, "now": now}).all():
        ping = {"job": row.job, "run_id": str(row.id)}
        if row.started_at is not None and since < row.started_at <= now:
            yield ping | {"signal": "start"}
        if row.finished_at is not None and since < row.finished_at <= now:
            if row.state in ("succeeded", "skipped"):
                yield ping | {"signal": "success", "body": row.message or ""}
            elif row.state in ("failed", "expired", "partial"):
                words = "\n".join(filter(None, (row.message, row.traceback)))
                yield ping | {"signal": "fail", "body": words[-_TAIL_CHARACTERS:]}
    # The watchman's own heart: this one stops when nobody goes the rounds any more.
    if "watchman" in jobs:
        yield {"job": "watchman", "signal": "success"}
