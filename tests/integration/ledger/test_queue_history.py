from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, text

from k9ops.ledger.queue_history import _SAMPLE, KEPT, QueueSample, read_queue_history, sample_queues, sum_up

NOON = datetime(2026, 6, 4, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def ended(engine: Engine, at: datetime, *, state: str = "skipped", job: str = "dig", queue: str = "tests") -> None:
    statement = text("""
        INSERT INTO k9ops.run (id, job, queue, trigger, state, created_at, due_at, finished_at)
        VALUES (gen_random_uuid(), :job, :queue, 'send', :state, :at, :at, CASE WHEN :state <> 'queued' THEN
                CAST(:at AS timestamptz) END)
    """)
    with engine.begin() as connection:
        connection.execute(statement, {"job": job, "queue": queue, "state": state, "at": at})


def test_each_run_is_counted_once_in_the_sample_after_its_end(engine: Engine) -> None:
    ended(engine, NOON - 20 * MINUTE)  # before the first sample's time
    ended(engine, NOON - MINUTE)
    ended(engine, NOON - MINUTE, state="failed", job="fill")
    ended(engine, NOON - 5 * MINUTE, state="queued", queue="other")
    assert sample_queues(engine, now=NOON)
    assert not sample_queues(engine, now=NOON + 14 * MINUTE)
    ended(engine, NOON + MINUTE, state="expired")
    ended(engine, NOON + 16 * MINUTE, state="cancelled")
    assert sample_queues(engine, now=NOON + 15 * MINUTE)
    assert sample_queues(engine, now=NOON + 90 * MINUTE)
    assert read_queue_history(engine, now=NOON + 90 * MINUTE) == [
        QueueSample("other", NOON, 1, 0, 0),
        QueueSample("other", NOON + 15 * MINUTE, 1, 0, 0),
        QueueSample("other", NOON + 90 * MINUTE, 1, 0, 0),
        QueueSample("tests", NOON, 0, 1, 1),
        QueueSample("tests", NOON + 15 * MINUTE, 0, 0, 1),
        QueueSample("tests", NOON + 90 * MINUTE, 0, 1, 0),
    ]
    assert sum_up(read_queue_history(engine, now=NOON + 90 * MINUTE)) == {
        "other": {"most_waiting": 1, "done": 0, "failed": 0},
        "tests": {"most_waiting": 0, "done": 2, "failed": 2},
    }


def test_samples_go_after_a_day_and_where_the_clock_was_set_back(engine: Engine) -> None:
    ended(engine, NOON - MINUTE)
    assert sample_queues(engine, now=NOON)
    assert sample_queues(engine, now=NOON + KEPT)
    with engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM k9ops.queue_sample")).scalar_one() == 1
    assert sample_queues(engine, now=NOON + 20 * MINUTE)
    assert read_queue_history(engine, now=NOON + 20 * MINUTE) == []
    with engine.begin() as connection:
        assert connection.execute(text("SELECT max(at) FROM k9ops.queue_sample")).scalar_one() == NOON + 20 * MINUTE


def test_sample_reads_what_ended_lately_by_the_index(engine: Engine) -> None:
    statement = text("""
        INSERT INTO k9ops.run (id, job, queue, trigger, state, created_at, finished_at)
        SELECT gen_random_uuid(), 'job' || n % 7, 'tests', 'send', 'skipped', CAST(:noon AS timestamptz),
               CAST(:noon AS timestamptz) - n * interval '1 minute'
        FROM generate_series(1, 20000) n
    """)
    with engine.begin() as connection:
        connection.execute(statement, {"noon": NOON})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE k9ops.run"))
    assert sample_queues(engine, now=NOON)
    assert [sample.done for sample in read_queue_history(engine, now=NOON)] == [14]
    with engine.connect() as connection:
        rows = connection.execute(text(f"EXPLAIN {_SAMPLE.text}"), {"now": NOON, "since": NOON - 15 * MINUTE})
        plan = "\n".join(row[0] for row in rows)
    assert "Seq Scan on run" not in plan, plan
