"""Old runs leave the ledger, in small transactions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Engine, text

from k9ops.db.engine import database_errors

_BATCH_ROWS = 2_000

# The last success of a job is what an operator and `k9ops check` ask for, however long ago it was.
_PRUNE = text("""
    WITH old AS MATERIALIZED (
        SELECT run.id FROM k9ops.run
        WHERE run.finished_at < CASE WHEN run.job = ANY(:routine_jobs) AND run.state IN ('succeeded', 'skipped')
                                     THEN greatest(:routine_before, :before) ELSE :before END
          AND run.state NOT IN ('queued', 'running', 'retrying')
          AND (run.state <> 'succeeded' OR EXISTS (
                SELECT 1 FROM k9ops.run AS newer
                WHERE newer.job = run.job AND newer.state = 'succeeded' AND newer.finished_at > run.finished_at))
        ORDER BY run.created_at LIMIT :batch_rows FOR UPDATE SKIP LOCKED),
    gone AS (DELETE FROM k9ops.run USING old WHERE run.id = old.id RETURNING run.id)
    SELECT count(*) FROM gone
""")


def prune_runs(
    engine: Engine,
    *,
    before: datetime,
    routine_before: datetime,
    routine_jobs: Sequence[str],
    check_stop: Callable[[], None] = lambda: None,
) -> int:
    """Delete runs that ended before a moment; runs that have not ended, and each job's last success, stay.

    Args:
        engine: The ledger's database.
        before: Aware.
        routine_before: The same for runs of `routine_jobs` that succeeded or had nothing to do; aware.
        routine_jobs: Jobs whose runs are many and say little.
        check_stop: Called between transactions; raises when the work must stop.

    Returns:
        How many were deleted.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer; what was deleted before stays deleted.
    """
    values = {
        "before": before,
        "routine_before": routine_before,
        "routine_jobs": list(routine_jobs),
        "batch_rows": _BATCH_ROWS,
    }
    deleted = 0
    while True:
        check_stop()
        with database_errors(), engine.begin() as connection:
            gone: int = connection.execute(_PRUNE, values).scalar_one()
        deleted += gone
        if gone < _BATCH_ROWS:
            return deleted
