"""A small history of each queue: every quarter of an hour how many runs wait, and how many ended since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, text

from k9ops.db.engine import database_errors

#: From sample to sample.
SAMPLE_EVERY = timedelta(minutes=15)
#: As far back as the history goes.
KEPT = timedelta(hours=24)

_LAST = text("SELECT max(at) FROM k9ops.queue_sample")

# From job to job by the index, and in each only what ended since the last sample.
_SAMPLE = text("""
    WITH RECURSIVE jobs (job) AS (
        (SELECT job FROM k9ops.run WHERE finished_at IS NOT NULL ORDER BY job LIMIT 1)
        UNION ALL
        SELECT (SELECT job FROM k9ops.run WHERE finished_at IS NOT NULL AND job > jobs.job ORDER BY job LIMIT 1)
        FROM jobs WHERE jobs.job IS NOT NULL),
    ended AS (
        SELECT queue, count(*) FILTER (WHERE state NOT IN ('failed', 'expired')) AS done,
               count(*) FILTER (WHERE state IN ('failed', 'expired')) AS failed
        FROM jobs JOIN k9ops.run ON run.job = jobs.job AND finished_at > :since AND finished_at <= :now
        GROUP BY queue),
    due AS (
        SELECT queue, count(*) AS waiting FROM k9ops.run
        WHERE state IN ('queued', 'retrying') AND due_at <= :now GROUP BY queue)
    INSERT INTO k9ops.queue_sample (queue, at, waiting, done, failed)
    SELECT queue, :now, coalesce(waiting, 0), coalesce(done, 0), coalesce(failed, 0)
    FROM ended FULL JOIN due USING (queue)
    ON CONFLICT DO NOTHING
""")
_NOTHING = text("""
    INSERT INTO k9ops.queue_sample (queue, at, waiting, done, failed) VALUES ('', :now, 0, 0, 0) ON CONFLICT DO NOTHING
""")
_PRUNE = text("DELETE FROM k9ops.queue_sample WHERE at <= :before OR at > :now")
_READ = text("SELECT queue, at, waiting, done, failed FROM k9ops.queue_sample WHERE at > :since AND queue <> ''")


@dataclass(frozen=True)
class QueueSample:
    """A queue at one moment.

    Attributes:
        queue: Its name.
        at: The moment, aware UTC.
        waiting: Runs that were due.
        done: Runs that ended since the sample before, otherwise than as failed or expired.
        failed: Runs that failed or expired since then.
    """

    queue: str
    at: datetime
    waiting: int
    done: int
    failed: int


def sample_queues(engine: Engine, *, now: datetime) -> bool:
    """Take a sample if the last one is long enough ago, and drop those that are too old.

    Args:
        engine: The ledger's database.
        now: The moment, aware.

    Returns:
        Whether one was taken.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    with database_errors(), engine.begin() as connection:
        last: datetime | None = connection.scalar(_LAST)
        if last is not None and timedelta(0) <= now - last < SAMPLE_EVERY:
            return False
        # After a clock was set back the samples of the future go.
        since = max(last, now - KEPT) if last is not None and last < now else now - SAMPLE_EVERY
        connection.execute(_PRUNE, {"before": now - KEPT, "now": now})
        connection.execute(_SAMPLE, {"since": since, "now": now})
        connection.execute(_NOTHING, {"now": now})
    return True


def read_queue_history(engine: Engine, *, now: datetime) -> list[QueueSample]:
    """Return the samples of the last day, oldest first; a queue has none for a time in which nothing happened there."""
    with database_errors(), engine.begin() as connection:
        rows = connection.execute(_READ, {"since": now - KEPT}).all()
    return sorted((QueueSample(*row) for row in rows), key=lambda sample: (sample.queue, sample.at))


def sum_up(samples: Sequence[QueueSample]) -> dict[str, dict[str, int]]:
    """Return for each queue how many runs waited at most, were done and failed."""
    found: dict[str, dict[str, int]] = {}
    for sample in samples:
        item = found.setdefault(sample.queue, {"most_waiting": 0, "done": 0, "failed": 0})
        item["most_waiting"] = max(item["most_waiting"], sample.waiting)
        item["done"] += sample.done
        item["failed"] += sample.failed
    return found
