"""Pings to an outside dead man's switch: which runs began or ended since the last round."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from k9ops.config.settings import Settings

_TAIL_CHARACTERS = 8_000

_MOVED = text("""
    SELECT id, job, state, started_at, finished_at, message, traceback FROM k9ops.run
    WHERE (started_at > :since AND started_at <= :now) OR (finished_at > :since AND finished_at <= :now)
    ORDER BY coalesce(finished_at, started_at)
""")


def find_pings(
    connection: Connection, settings: Settings, *, since: datetime, now: datetime
) -> Iterator[dict[str, Any]]:
    """Yield the content of each ping, in the order in which things happened.

    A run that began and ended since then has both. `skipped` is a success: there was nothing to do. One that was
    cancelled has no end: what was meant to be done was not.
    """
    if not settings.has_ping_urls:
        return
    for row in connection.execute(_MOVED, {"since": since, "now": now}).all():
        if settings.ping_url_of(row.job) is None:
            continue
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
    if settings.ping_url_of("watchman") is not None:
        yield {"job": "watchman", "signal": "success"}
