"""What the ledger can tell about many runs at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, text

from k9ops.db.engine import database_errors

_JOBS = text("""
    SELECT job,
        count(*) FILTER (WHERE created_at >= :since) AS runs,
        count(*) FILTER (WHERE created_at >= :since AND state = 'succeeded') AS succeeded,
        count(*) FILTER (WHERE created_at >= :since AND state = 'skipped') AS skipped,
        count(*) FILTER (WHERE created_at >= :since AND state = 'partial') AS partial,
        count(*) FILTER (WHERE created_at >= :since AND state = 'failed') AS failed,
        count(*) FILTER (WHERE created_at >= :since AND state IN ('cancelled', 'expired')) AS dropped,
        count(*) FILTER (WHERE created_at >= :since AND path = 'worker') AS by_worker,
        count(*) FILTER (WHERE created_at >= :since AND path = 'inline') AS inline,
        count(*) FILTER (WHERE state IN ('queued', 'running', 'retrying')) AS open,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - started_at))
            FILTER (WHERE created_at >= :since) AS median_s,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - started_at))
            FILTER (WHERE created_at >= :since) AS p95_s,
        max(finished_at) FILTER (WHERE state IN ('succeeded', 'skipped')) AS last_good_at,
        min(created_at) FILTER (WHERE state IN ('queued', 'running', 'retrying')) AS oldest_open_at
    FROM k9ops.run
    GROUP BY job
    ORDER BY job
""")

_QUEUES = text("""
    SELECT queue,
        count(*) FILTER (WHERE state = 'queued' AND due_at <= now()) AS due,
        count(*) FILTER (WHERE state IN ('queued', 'retrying') AND due_at > now()) AS later,
        count(*) FILTER (WHERE state = 'retrying' AND due_at <= now()) AS retrying,
        count(*) FILTER (WHERE state = 'running') AS running,
        extract(epoch FROM now() - min(due_at) FILTER (WHERE state IN ('queued', 'retrying') AND due_at <= now()))
            AS oldest_due_s
    FROM k9ops.run WHERE state IN ('queued', 'running', 'retrying') GROUP BY queue
""")


@dataclass(frozen=True)
class JobStatistics:
    """What became of a job's runs that were created since a moment.

    Attributes:
        job: Its name.
        runs: How many there were.
        succeeded: How many ended so; likewise `skipped`, `partial` and `failed`.
        skipped: Nothing to do.
        partial: Usable, but incomplete.
        failed: Without a result.
        dropped: Cancelled or expired.
        by_worker: Executed, the last time, by a worker.
        inline: Executed, the last time, in the process that asked.
        open: Not ended now, whenever they were created.
        median_s: Of the time from start to end; None without one.
        p95_s: 95th percentile of it.
        last_good_at: Last success, or last time with nothing to do, ever.
        oldest_open_at: When the oldest of `open` was created.
    """

    job: str
    runs: int
    succeeded: int
    skipped: int
    partial: int
    failed: int
    dropped: int
    by_worker: int
    inline: int
    open: int
    median_s: float | None
    p95_s: float | None
    last_good_at: datetime | None
    oldest_open_at: datetime | None


@dataclass(frozen=True)
class QueueRuns:
    """Runs of a queue that have not ended.

    Attributes:
        queue: Its name.
        due: Queued and due.
        later: Queued or retrying, not due yet.
        retrying: Due for another attempt.
        running: Claimed.
        oldest_due_s: How long the first of the due ones has waited; None without one.
    """

    queue: str
    due: int = 0
    later: int = 0
    retrying: int = 0
    running: int = 0
    oldest_due_s: float | None = None


def summarise_jobs(engine: Engine, *, since: datetime) -> list[JobStatistics]:
    """Return what became of each job's runs.

    Args:
        engine: The ledger's database.
        since: Aware; only runs created since then are counted.
    """
    with database_errors(), engine.begin() as connection:
        rows = connection.execute(_JOBS, {"since": since}).mappings().all()
    return [JobStatistics(**_as_floats(row)) for row in rows]


def summarise_queues(engine: Engine) -> dict[str, QueueRuns]:
    """Return the open runs of each queue that has any, by queue."""
    with database_errors(), engine.begin() as connection:
        rows = connection.execute(_QUEUES).mappings().all()
    return {row["queue"]: QueueRuns(**_as_floats(row)) for row in rows}


def _as_floats(row: Any) -> dict[str, Any]:
    return {name: float(value) if name.endswith("_s") and value is not None else value for name, value in row.items()}
