"""The outbox: runs that are due, of a queue that is not paused, and whose message is missing or seems to be lost."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from sqlalchemy import Engine, text

from k9ops.db.engine import database_errors
from k9ops.ledger.model import RUN_COLUMNS, Run, run_from_row

_BACKLOG_RESEND_AFTER_S = 3600

# The wait before a message is sent again doubles with each send. While its queue has waiting messages it
# is probably among them, so it is sent again much later.
_TAKE = text(f"""
    UPDATE k9ops.run SET sent_at = now(), sends = sends + 1
    WHERE id IN (
        SELECT id FROM k9ops.run
        WHERE state IN ('queued', 'retrying') AND due_at <= now()
          AND (expires_at IS NULL OR started_at IS NOT NULL OR expires_at > now())
          AND NOT EXISTS (SELECT FROM k9ops.queue_pause WHERE queue_pause.queue = run.queue)
          AND (sent_at IS NULL OR :with_resends AND sent_at < now() - make_interval(secs => greatest(
                CASE WHEN queue = ANY(CAST(:backlogged AS text[])) THEN {_BACKLOG_RESEND_AFTER_S} ELSE 0 END,
                :resend_after_s * power(2, least(sends, 7) - 1))))
        ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED)
    RETURNING {RUN_COLUMNS}
""")


def take_unsent_runs(
    engine: Engine,
    *,
    resend_after_s: float,
    backlogged: Collection[str] = (),
    with_resends: bool = True,
    limit: int = 500,
) -> list[Run]:
    """Mark runs as sent and return them; the caller sends their messages.

    Args:
        engine: The database.
        resend_after_s: Seconds after which a sent run that nobody claimed is sent again.
        backlogged: Queues that have messages waiting.
        with_resends: Whether runs that were sent before are taken too.
        limit: At most this many.

    Returns:
        Runs in the order in which they are due. Two callers never get the same run.
    """
    values = {
        "resend_after_s": resend_after_s,
        "backlogged": list(backlogged),
        "limit": limit,
        "with_resends": with_resends,
    }
    with database_errors(), engine.begin() as connection:
        runs = [run_from_row(row) for row in connection.execute(_TAKE, values).mappings()]
    return sorted(runs, key=lambda run: run.due_at)


def mark_unsent(engine: Engine, run_ids: Collection[uuid.UUID]) -> None:
    """Take back that these runs were sent: the broker refused them."""
    statement = text("UPDATE k9ops.run SET sent_at = NULL WHERE id = ANY(:ids) AND state IN ('queued', 'retrying')")
    with database_errors(), engine.begin() as connection:
        connection.execute(statement, {"ids": list(run_ids)})
