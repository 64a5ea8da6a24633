"""A real worker in this process, on a real Redis and a real PostgreSQL."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dramatiq
import psycopg
import pytest
import redis
from dramatiq.results import ResultTimeout
from sqlalchemy import Engine, text
from tests.processes import DEADLINE_S, wait_for

from k9ops.broker import overdue, results
from k9ops.broker.build import K9opsRedisBroker
from k9ops.broker.enqueue import enqueue_run
from k9ops.broker.inline import execute_inline, record_inline_run
from k9ops.broker.sending import RECORDED_OPTION, relay_unsent_runs
from k9ops.config.settings import get_settings
from k9ops.errors import BrokerUnavailable, ParamsInvalid, PermanentError, RunStateConflict, TransientError
from k9ops.ledger.execution import current_execution, current_run
from k9ops.ledger.model import Run
from k9ops.ledger.processes import list_processes
from k9ops.ledger.requests import get_run, list_runs, request_cancel, request_retry
from k9ops.outcome import FollowUp, Outcome, skipped


@contextmanager
def working(broker: dramatiq.Broker, threads: int = 2) -> Iterator[dramatiq.Worker]:
    worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=threads)
    broker.emit_after("process_boot")
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def wait_for_end(engine: Engine, run_id: uuid.UUID | str) -> Run:
    def ended() -> Run | None:
        run = get_run(engine, uuid.UUID(str(run_id)))
        return run if run.is_final else None

    run: Run = wait_for(ended)
    return run


def send(engine: Engine, broker: dramatiq.Broker, actor: dramatiq.Actor[..., Any], **params: Any) -> uuid.UUID:
    return enqueue_run(engine, broker, get_settings(), actor, params).run_id


@pytest.fixture
def calls() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def count_rows(broker: K9opsRedisBroker, calls: list[dict[str, Any]]) -> dramatiq.Actor[..., Any]:
    @dramatiq.actor(broker=broker, queue_name="tests", max_retries=2, min_backoff=1, max_backoff=1)
    def count_rows(*, rows: int = 1, problem: str = "", slot: str | None = None) -> Any:
        run = current_run()
        assert run is not None
        calls.append({"rows": rows, "slot": slot, "attempt": run.claim.run.attempt})
        match problem:
            case "transient":
                raise TransientError("The server is away.")
            case "permanent":
                raise PermanentError("The table is missing.")
            case "once" if run.claim.run.attempt == 1:
                raise TransientError("The first time only.")
            case "nothing":
                return None
            case "failure":
                return {"success": False, "error": "it broke"}
            case "not json":
                return Outcome("succeeded", "Done.", {"at": object()})
            case "not a number":
                return Outcome("succeeded", "Done.", {"ratio": float("nan")})
            case "odd text":
                raise PermanentError("nul \x00, surrogate \ud800, عربي")
            case "unknown follow-up":
                return Outcome("succeeded", "Done.", {"n": 1}, (FollowUp("no_such_job", {}),))
            case "skipped":
                return skipped("Nothing to count.")
        return Outcome("succeeded", f"{rows} rows.", {"rows": rows})

    return count_rows


def test_worker_records_the_outcome_with_its_evidence(
    engine: Engine, broker: K9opsRedisBroker, count_rows: dramatiq.Actor[..., Any]
) -> None:
    with working(broker):
        run = wait_for_end(engine, send(engine, broker, count_rows, rows=7))
    assert (run.state, run.evidence, run.path, run.trigger, run.attempt) == (
        "succeeded", {"rows": 7}, "worker", "enqueue", 1,
    )  # fmt: skip


def test_worker_records_a_run_that_was_sent_plainly(
    engine: Engine, broker: K9opsRedisBroker, count_rows: dramatiq.Actor[..., Any]
) -> None:
    message = count_rows.send(rows=3)
    assert get_run(engine, uuid.UUID(message.message_id)).state == "queued"
    with working(broker):
        run = wait_for_end(engine, message.message_id)
        result = message.get_result(block=True, timeout=5000)
    assert (run.state, run.trigger, run.params) == ("succeeded", "send", {"rows": 3})
    assert result == {"state": "succeeded", "message": "3 rows.", "evidence": {"rows": 3}}


def test_worker_records_a_message_that_reached_redis_alone(
    engine: Engine, broker: K9opsRedisBroker, count_rows: dramatiq.Actor[..., Any]
) -> None:
    message = count_rows.send(rows=4)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM k9ops.run"))
    broker.flush("tests")
    stripped = message.copy()
    stripped.options.pop(RECORDED_OPTION)
    broker.do_enqueue("tests", str(uuid.uuid4()), stripped.encode())
    with working(broker):
        wait_for(lambda: list_runs(engine))
        run = wait_for_end(engine, message.message_id)
    assert (run.state, run.params) == ("succeeded", {"rows": 4})


@pytest.mark.parametrize(
    ("problem", "state", "error_class", "attempts"),
    [
        ("skipped", "skipped", None, 1),
        ("once", "succeeded", None, 2),
        ("transient", "failed", "TransientError", 3),
        ("permanent", "failed", "PermanentError", 1),
        ("nothing", "failed", "OutcomeMissing", 1),
        ("failure", "failed", "OutcomeMissing", 1),
        ("not json", "failed", "OutcomeInvalid", 1),
        ("not a number", "failed", "OutcomeInvalid", 1),
        ("odd text", "failed", "PermanentError", 1),
        ("unknown follow-up", "failed", "JobUnknown", 1),
    ],
)
def test_worker_ends_a_run_as_its_job_ended(
    engine: Engine,
    broker: K9opsRedisBroker,
    count_rows: dramatiq.Actor[..., Any],
    calls: list[dict[str, Any]],
    problem: str,
    state: str,
    error_class: str | None,
    attempts: int,
) -> None:
    with working(broker):
        run = wait_for_end(engine, send(engine, broker, count_rows, problem=problem))
    assert (run.state, run.error_class, run.attempt, len(calls)) == (state, error_class, attempts, attempts)


def test_worker_executes_a_message_that_comes_twice_once(
    engine: Engine, broker: K9opsRedisBroker, count_rows: dramatiq.Actor[..., Any], calls: list[dict[str, Any]]
) -> None:
    message = count_rows.send(rows=1)
    for _ in range(5):
        broker.enqueue(message.copy())
    with working(broker, threads=4) as worker:
        broker.join("tests", timeout=DEADLINE_S * 1000)
        worker.join()
    assert len(calls) == 1
    assert get_run(engine, uuid.UUID(message.message_id)).state == "succeeded"
    assert message.get_result()["evidence"] == {"rows": 1}


def test_enqueue_run_answers_with_the_run_of_the_slot(
    engine: Engine, broker: K9opsRedisBroker, count_rows: dramatiq.Actor[..., Any], calls: list[dict[str, Any]]
) -> None:
    slot = "2026-11-24T02:00:00+03:00"
    first = enqueue_run(engine, broker, get_settings(), count_rows, {"slot": slot})
    second = enqueue_run(engine, broker, get_settings(), count_rows, {"slot": "2026-11-23T23:00:00+00:00"})
    plain = count_rows.send(slot=slot)
    assert (second.run_id, second.is_new) == (first.run_id, False)
    with working(broker) as worker:
        wait_for_end(engine, first.run_id)
        broker.join("tests", timeout=DEADLINE_S * 1000)
        worker.join()
    assert len(calls) == 1
    assert [run.id for run in list_runs(engine)] == [first.run_id]
    assert plain.message_id != str(first.run_id)


def test_enqueue_run_refuses_parameters_that_the_job_does_not_take(
    engine: Engine, broker: K9opsRedisBroker, count_rows: dramatiq.Actor[..., Any]
) -> None:
    with pytest.raises(ParamsInvalid, match="unexpected keyword argument 'row'; it takes: rows, problem, slot"):
        send(engine, broker, count_rows, row=1)
    with pytest.raises(ParamsInvalid, match="with an offset"):
        send(engine, broker, count_rows, slot="2026-11-24T02:00:00")
    for value in (float("inf"), "a\x00b", {1, 2}):
        with pytest.raises(ParamsInvalid, match=r"not JSON|NUL"):
            send(engine, broker, count_rows, rows=value)
    assert list_runs(engine) == []


def test_enqueue_run_leaves_the_run_to_the_relay_when_redis_is_away(
    engine: Engine, broker: K9opsRedisBroker, count_rows: dramatiq.Actor[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with redis_away(broker, monkeypatch):
        enqueued = enqueue_run(engine, broker, get_settings(), count_rows, {"rows": 5})
        assert enqueued.path == "outbox"
        assert get_run(engine, enqueued.run_id).sent_at is None
        with pytest.raises(BrokerUnavailable):
            relay_unsent_runs(engine, broker, resend_after_s=60)
        with pytest.raises(BrokerUnavailable):
            enqueue_run(engine, broker, get_settings(), count_rows, {"rows": 6}, fallback="raise")
    assert all(run.sent_at is None for run in list_runs(engine))
    with working(broker):
        runs = wait_for(lambda: [run for run in list_runs(engine) if run.is_final][1:] and list_runs(engine))
    assert {run.state for run in runs} == {"succeeded"}


@contextmanager
def redis_away(broker: K9opsRedisBroker, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Point the broker's connections at a port where nobody listens."""
    pools = [client.connection_pool for client in (broker.client, broker.sender)]
    port = pools[0].connection_kwargs["port"]

    def move(new_port: int) -> None:
        for pool in pools:
            pool.disconnect()
            monkeypatch.setitem(pool.connection_kwargs, "port", new_port)
            pool.reset()

    move(1)
    try:
        yield
    finally:
        move(port)


def test_enqueue_run_executes_inline_only_what_is_declared_safe(
    engine: Engine, broker: K9opsRedisBroker, count_rows: dramatiq.Actor[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    @dramatiq.actor(broker=broker, queue_name="tests", is_inline_safe=True)
    def touch() -> Outcome:
        return Outcome("succeeded", "Touched.", {"run_id": str(current_execution().run_id)})

    with redis_away(broker, monkeypatch):
        safe = enqueue_run(engine, broker, get_settings(), touch, {}, fallback="inline")
        unsafe = enqueue_run(engine, broker, get_settings(), count_rows, {}, fallback="inline")
    run = get_run(engine, safe.run_id)
    assert (safe.path, run.path, run.state, run.evidence) == (
        "inline", "inline", "succeeded", {"run_id": str(run.id)},
    )  # fmt: skip
    assert (unsafe.path, get_run(engine, unsafe.run_id).state) == ("outbox", "queued")


def test_enqueue_run_sends_only_after_the_callers_commit(
    engine: Engine, broker: K9opsRedisBroker, count_rows: dramatiq.Actor[..., Any]
) -> None:
    with engine.connect() as connection:
        lost = enqueue_run(engine, broker, get_settings(), count_rows, {}, connection=connection)
        connection.rollback()
        kept = enqueue_run(engine, broker, get_settings(), count_rows, {}, connection=connection)
        assert broker.count_waiting("tests") == 0
        connection.commit()
    with working(broker):
        wait_for_end(engine, kept.run_id)
    assert [run.id for run in list_runs(engine)] == [kept.run_id] != [lost.run_id]


def test_worker_starts_follow_ups_after_the_outcome(engine: Engine, broker: K9opsRedisBroker) -> None:
    @dramatiq.actor(broker=broker, queue_name="tests")
    def second(*, backup_id: str) -> Outcome:
        return Outcome("succeeded", "Second.", {"backup_id": backup_id})

    @dramatiq.actor(broker=broker, queue_name="tests")
    def first() -> Outcome:
        return Outcome("succeeded", "First.", {"n": 1}, (FollowUp("second", {"backup_id": "x"}),))

    with working(broker):
        parent = send(engine, broker, first)
        (child,) = wait_for(lambda: list_runs(engine, parent_id=parent))
        run = wait_for_end(engine, child.id)
    assert (run.job, run.state, run.trigger, run.evidence) == ("second", "succeeded", "follow_up", {"backup_id": "x"})


def test_a_retried_run_starts_its_follow_ups_again(engine: Engine, broker: K9opsRedisBroker) -> None:
    @dramatiq.actor(broker=broker, queue_name="tests")
    def second() -> Outcome:
        return skipped("Second.")

    @dramatiq.actor(broker=broker, queue_name="tests")
    def first() -> Outcome:
        return Outcome("partial", "First.", {"n": 1}, (FollowUp("second", {}),))

    run_id = record_inline_run(engine, first, {}, trigger="cli", requested_by="test")
    for times in (1, 2, 3):
        assert execute_inline(engine, broker, get_settings(), run_id).state == "partial"
        assert len(list_runs(engine, parent_id=run_id)) == times
        request_retry(engine, run_id, requested_by="test")


def test_worker_stops_a_running_job_when_its_run_is_cancelled(engine: Engine, broker: K9opsRedisBroker) -> None:
    started = threading.Event()

    @dramatiq.actor(broker=broker, queue_name="tests")
    def endless() -> Outcome:
        started.set()
        while True:
            current_execution().check_stop()
            current_execution().report_progress(1, 2, "rows")
            threading.Event().wait(0.01)

    with working(broker):
        run_id = send(engine, broker, endless)
        assert started.wait(DEADLINE_S)
        request_cancel(engine, run_id, requested_by="Sara")
        run = wait_for_end(engine, run_id)
    assert (run.state, run.progress) == ("cancelled", {"done": 1, "total": 2, "unit": "rows"})


class SlowBoot(dramatiq.Middleware):
    """Holds up the end of a worker's boot until a job is at work."""

    def __init__(self, started: threading.Event) -> None:
        self.started = started

    def after_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        assert self.started.wait(DEADLINE_S)


def test_worker_owns_and_renews_a_run_that_begins_while_it_boots(engine: Engine, broker: K9opsRedisBroker) -> None:
    started, finish = threading.Event(), threading.Event()

    @dramatiq.actor(broker=broker, queue_name="tests")
    def wait_long() -> Outcome:
        started.set()
        assert finish.wait(DEADLINE_S)
        return Outcome("succeeded", "Done.", {"n": 1})

    broker.add_middleware(SlowBoot(started))
    run_id = send(engine, broker, wait_long)
    with working(broker):
        (process,) = wait_for(lambda: list_processes(engine))
        first = get_run(engine, run_id)
        renewed = wait_for(
            lambda: run if (run := get_run(engine, run_id)).lease_expires_at != first.lease_expires_at else None
        )
        finish.set()
        wait_for_end(engine, run_id)
    assert renewed.attempt == 1
    assert str(renewed.lease_owner).startswith(f"{process.name}/")


def test_worker_puts_a_job_back_when_it_shuts_down(engine: Engine, broker: K9opsRedisBroker) -> None:
    started = threading.Event()

    @dramatiq.actor(broker=broker, queue_name="tests")
    def patient() -> Outcome:
        started.set()
        while len(attempts) == 1:
            current_execution().check_stop()
            threading.Event().wait(0.01)
        return Outcome("succeeded", "Done.", {"n": 1})

    attempts = [1]
    with working(broker):
        run_id = send(engine, broker, patient)
        assert started.wait(DEADLINE_S)
    run = get_run(engine, run_id)
    assert (run.state, run.attempt) == ("retrying", 0)
    attempts.append(2)
    with working(broker):
        run = wait_for_end(engine, run_id)
    assert (run.state, run.attempt) == ("succeeded", 1)


def test_worker_leaves_a_run_alone_when_its_lease_was_taken(engine: Engine, broker: K9opsRedisBroker) -> None:
    started, ended = threading.Event(), threading.Event()

    @dramatiq.actor(broker=broker, queue_name="tests")
    def stubborn() -> Outcome:
        started.set()
        try:
            while True:
                current_execution().check_stop()
                threading.Event().wait(0.01)
        finally:
            ended.set()

    with working(broker):
        run_id = send(engine, broker, stubborn)
        assert started.wait(DEADLINE_S)
        with engine.begin() as connection:
            connection.execute(text("UPDATE k9ops.run SET lease_owner = 'another', attempt = attempt + 1"))
        assert ended.wait(DEADLINE_S)
    run = get_run(engine, run_id)
    assert (run.state, run.lease_owner) == ("running", "another")


def test_worker_waits_without_acknowledging_when_postgresql_is_away(
    engine: Engine, broker: K9opsRedisBroker, count_rows: dramatiq.Actor[..., Any], calls: list[dict[str, Any]]
) -> None:
    run_id = send(engine, broker, count_rows)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE k9ops.run RENAME TO gone"))
    try:
        with working(broker):
            wait_for(lambda: broker.count_waiting("tests") == 0)
            wait_for(lambda: broker.client.keys("dramatiq:__acks__.*.tests"))
            assert not calls
        assert broker.count_waiting("tests") == 1
    finally:
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE k9ops.gone RENAME TO run"))
    with working(broker):
        assert wait_for_end(engine, run_id).state == "succeeded"


def test_execute_inline_records_the_run_and_refuses_an_ended_one(
    engine: Engine, broker: K9opsRedisBroker, count_rows: dramatiq.Actor[..., Any]
) -> None:
    run_id = record_inline_run(engine, count_rows, {"rows": 2}, trigger="cli", requested_by="Sara")
    run = execute_inline(engine, broker, get_settings(), run_id)
    assert (run.state, run.path, run.trigger, run.evidence) == ("succeeded", "inline", "cli", {"rows": 2})
    with pytest.raises(RunStateConflict, match="is succeeded"):
        execute_inline(engine, broker, get_settings(), run_id)


def test_execute_inline_puts_the_run_back_when_a_person_interrupts_it(engine: Engine, broker: K9opsRedisBroker) -> None:
    @dramatiq.actor(broker=broker, queue_name="tests")
    def interrupted() -> Outcome:
        raise KeyboardInterrupt

    run_id = record_inline_run(engine, interrupted, {}, trigger="cli", requested_by=None)
    with pytest.raises(KeyboardInterrupt):
        execute_inline(engine, broker, get_settings(), run_id)
    assert (get_run(engine, run_id).state, get_run(engine, run_id).attempt) == ("retrying", 0)


@contextmanager
def postgresql_away(engine: Engine, database_url: str) -> Iterator[None]:
    """End every connection to the test's database and refuse new ones."""
    server, _, name = database_url.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as session:
        session.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        session.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        try:
            yield
        finally:
            session.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


def test_worker_records_the_outcome_when_postgresql_comes_back(
    engine: Engine,
    broker: K9opsRedisBroker,
    database_url: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started, may_end = threading.Event(), threading.Event()
    calls = []
    monkeypatch.setattr(logging.getLogger("k9ops.broker"), "handlers", [caplog.handler])

    @dramatiq.actor(broker=broker, queue_name="tests")
    def slow() -> Outcome:
        calls.append(1)
        started.set()
        assert may_end.wait(DEADLINE_S)
        return Outcome("succeeded", "Done.", {"n": 1})

    with working(broker):
        run_id = send(engine, broker, slow)
        assert started.wait(DEADLINE_S)
        with postgresql_away(engine, database_url):
            waiting = send_while_away(broker, slow)
            may_end.set()
            wait_for(lambda: sum("ledger.unreachable" in str(record.msg) for record in caplog.records) >= 2)
            assert broker.client.keys("dramatiq:__acks__.*.tests")
        assert wait_for_end(engine, run_id).state == "succeeded"
        wait_for(lambda: len(list_runs(engine)) == 2)
        assert wait_for_end(engine, waiting).state == "succeeded"
    assert len(calls) == 2
    assert get_run(engine, run_id).attempt == 1


def test_worker_that_waits_for_postgresql_with_an_outcome_is_not_replaced_for_its_time_limit(
    engine: Engine, broker: K9opsRedisBroker, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, left = [], []
    monkeypatch.setattr(overdue, "HARD_LIMIT_GRACE_S", 0.0)
    monkeypatch.setattr(overdue.os, "kill", lambda *arguments: left.append(arguments))
    monkeypatch.setattr(overdue.OverdueRuns, "_leave", lambda self, *runs: left.append(runs))
    look_after = overdue.OverdueRuns.look_after

    def look(self: overdue.OverdueRuns, held: Any) -> None:
        looked.extend(run for run in held if time.monotonic() > run.hard_deadline_s)
        look_after(self, held)

    monkeypatch.setattr(overdue.OverdueRuns, "look_after", look)
    started, may_end = threading.Event(), threading.Event()

    @dramatiq.actor(broker=broker, queue_name="tests", time_limit=2_000)
    def slow() -> Outcome:
        started.set()
        assert may_end.wait(DEADLINE_S)
        return Outcome("succeeded", "Done.", {"n": 1})

    with working(broker):
        run_id = send(engine, broker, slow)
        assert started.wait(DEADLINE_S)
        with postgresql_away(engine, database_url):
            may_end.set()
            wait_for(lambda: len(looked) > 3)
        assert wait_for_end(engine, run_id).state == "succeeded"
    assert left == []


def send_while_away(broker: K9opsRedisBroker, actor: dramatiq.Actor[..., Any]) -> str:
    """Send as application code does while the ledger is away: the message is in Redis alone."""
    message = actor.send()
    assert RECORDED_OPTION not in message.options
    return message.message_id


def test_worker_starts_nothing_unclaimed_when_both_servers_are_away_at_its_shutdown(
    engine: Engine,
    broker: K9opsRedisBroker,
    count_rows: dramatiq.Actor[..., Any],
    calls: list[dict[str, Any]],
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise redis.ConnectionError("refused")

    run_id = send(engine, broker, count_rows)
    with postgresql_away(engine, database_url):
        with working(broker):
            wait_for(lambda: broker.client.keys("dramatiq:__acks__.*.tests"))
            monkeypatch.setattr(broker, "enqueue", refuse)
        monkeypatch.undo()
    assert calls == []
    assert get_run(engine, run_id).state == "queued"


def test_relay_unsent_runs_leaves_the_rest_when_its_time_is_over(
    engine: Engine, broker: K9opsRedisBroker, count_rows: dramatiq.Actor[..., Any]
) -> None:
    with engine.begin() as connection:
        for _ in range(3):
            enqueue_run(engine, broker, get_settings(), count_rows, {}, connection=connection)
    assert relay_unsent_runs(engine, broker, resend_after_s=60, budget_s=-1) == 0
    assert all(run.sent_at is None for run in list_runs(engine))
    assert relay_unsent_runs(engine, broker, resend_after_s=60) == 3


def test_result_and_progress_of_a_job_that_takes_longer_than_five_seconds(
    engine: Engine, broker: K9opsRedisBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """redis-py 8 gives up an answer after five seconds unless it is told otherwise."""

    @dramatiq.actor(broker=broker, queue_name="tests")
    def slow() -> Outcome:
        current_execution().report_progress(1, 2, "halves")
        threading.Event().wait(5.5)
        return Outcome("succeeded", "Done.", {"n": 1})

    message = slow.send()
    with working(broker):
        run_id = uuid.UUID(message.message_id)
        wait_for(lambda: get_run(engine, run_id).progress == {"done": 1, "total": 2, "unit": "halves"})
        monkeypatch.setattr(results, "_LONGEST_WAIT_MS", 1000)
        result = message.get_result(block=True, timeout=DEADLINE_S * 1000)
        assert message.get_result() == result
    assert result["evidence"] == {"n": 1}
    assert get_run(engine, run_id).attempt == 1
    with pytest.raises(ResultTimeout):
        slow.message().get_result(block=True, timeout=1500)
