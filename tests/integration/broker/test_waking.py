"""How a message reaches a thread that is free, at once and whatever else waits."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import dramatiq
import pytest
import redis
from sqlalchemy import Engine
from tests.integration.broker.test_worker import send, wait_for_end, working
from tests.processes import DEADLINE_S, wait_for

from k9ops.broker import consumer as consumer_module
from k9ops.broker.batches import enqueue_runs
from k9ops.broker.build import build_broker
from k9ops.broker.redis_broker import K9opsRedisBroker
from k9ops.config.settings import get_loaded_settings, get_settings
from k9ops.db.engine import get_engine
from k9ops.ledger.requests import get_run
from k9ops.outcome import Outcome

FAR_OFF_S = 3600.0
IDLE_S = 3.0


def touch() -> Outcome:
    return Outcome("succeeded", "Touched.", {"n": 1})


@pytest.fixture
def job(broker: K9opsRedisBroker) -> dramatiq.Actor[..., Any]:
    return dramatiq.actor(touch, broker=broker, queue_name="tests")


@pytest.fixture
def another_broker(broker: K9opsRedisBroker) -> Iterator[K9opsRedisBroker]:
    """The broker of a second process, as far as Redis can tell."""
    another = build_broker(get_settings())
    yield another
    another.client.close()
    another.get_results_backend().client.close()


@pytest.fixture
def no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let consumers look at their queue when they start and when they are woken, never else."""
    monkeypatch.setattr(consumer_module, "_POLL_TIMEOUTS", 1_000_000)


def wait_until_idle(broker: K9opsRedisBroker) -> None:
    assert broker.find_gate("tests").looked.wait(DEADLINE_S)
    wait_for(lambda: "blpop" in {client["cmd"] for client in broker.client.client_list()})


@pytest.mark.usefixtures("no_poll")
def test_idle_worker_is_woken_by_a_message(
    engine: Engine, broker: K9opsRedisBroker, job: dramatiq.Actor[..., Any]
) -> None:
    with working(broker):
        wait_until_idle(broker)
        for _ in range(3):
            assert wait_for_end(engine, send(engine, broker, job)).state == "succeeded"
        assert wait_for_end(engine, job.send().message_id).state == "succeeded"


def test_idle_worker_finds_a_message_whose_wake_up_was_lost(
    engine: Engine, broker: K9opsRedisBroker, job: dramatiq.Actor[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with working(broker):
        wait_until_idle(broker)
        monkeypatch.setattr(broker, "_add_tokens", lambda *_: None)
        assert wait_for_end(engine, send(engine, broker, job)).state == "succeeded"


def test_idle_worker_asks_redis_at_most_ten_commands_a_second(
    engine: Engine, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("K9OPS_LEASE_S", "15")
    monkeypatch.setenv("K9OPS_RELAY_INTERVAL_S", "1")
    get_loaded_settings.cache_clear()
    broker = build_broker(get_settings())
    for position in range(5):
        broker.declare_queue(f"queue_{position}")
    worker = dramatiq.Worker(broker, worker_threads=8)
    worker.start()
    try:
        for position in range(5):
            assert broker.find_gate(f"queue_{position}").looked.wait(DEADLINE_S)
        started_s, before = time.monotonic(), count_commands(broker)
        threading.Event().wait(IDLE_S)
        asked, taken_s = count_commands(broker) - before, time.monotonic() - started_s
    finally:
        worker.stop()
        broker.client.close()
        broker.get_results_backend().client.close()
    assert asked <= 10 * taken_s


def count_commands(broker: K9opsRedisBroker) -> int:
    """Count what Redis was asked since it started, without what a new connection says of itself."""
    found: Any = broker.client.info("commandstats")
    greetings = ("hello", "client", "select", "auth", "info")
    return sum(each["calls"] for name, each in found.items() if not name.removeprefix("cmdstat_").startswith(greetings))


@pytest.mark.usefixtures("no_resend")
def test_short_job_behind_a_long_one_is_done_by_a_worker_that_is_idle(
    engine: Engine, broker: K9opsRedisBroker, another_broker: K9opsRedisBroker
) -> None:
    started, may_end = threading.Event(), threading.Event()

    def wait_long() -> Outcome:
        started.set()
        assert may_end.wait(DEADLINE_S)
        return Outcome("succeeded", "Waited.", {"n": 1})

    for each in (broker, another_broker):
        dramatiq.actor(wait_long, broker=each, queue_name="tests")
        dramatiq.actor(touch, broker=each, queue_name="tests")
    long, short = broker.get_actor("wait_long"), broker.get_actor("touch")
    sent = [send(engine, broker, actor) for actor in (long, short)]
    # As after many short jobs: the first worker fetches ahead.
    broker.capacity.note_duration(0.0)
    with working(broker, threads=1) as worker:
        wait_for(lambda: broker.count_waiting("tests") == 0)
        assert started.wait(DEADLINE_S)
        try:
            with working(another_broker, threads=1):
                assert wait_for_end(engine, sent[1]).state == "succeeded"
                assert get_run(engine, sent[0]).state == "running"
        finally:
            may_end.set()
        assert wait_for_end(engine, sent[0]).attempt == 1
        worker.join()


def test_messages_that_wait_behind_a_long_job_go_back_in_their_order(
    engine: Engine, broker: K9opsRedisBroker, job: dramatiq.Actor[..., Any]
) -> None:
    sent = [str(send(engine, broker, job)) for _ in range(4)]
    consumer = broker.consume("tests", prefetch=3, timeout=50)
    fetched = [next(consumer) for _ in range(3)]
    consumer.give_back(fetched)
    assert broker.count_waiting("tests") == 4
    again = broker.consume("tests", prefetch=4, timeout=50)
    assert [next(again).message_id for _ in range(4)] == sent


def test_closed_consumer_leaves_nothing_that_it_fetched(
    engine: Engine, broker: K9opsRedisBroker, job: dramatiq.Actor[..., Any]
) -> None:
    for _ in range(3):
        send(engine, broker, job)
    consumer = broker.consume("tests", prefetch=3, timeout=50)
    consumer.ack(next(consumer))
    consumer.close()
    assert broker.count_waiting("tests") == 2
    assert broker.client.keys("dramatiq:__acks__.*") == []


def test_consumer_goes_on_behind_a_message_that_cannot_be_read(
    engine: Engine, broker: K9opsRedisBroker, job: dramatiq.Actor[..., Any]
) -> None:
    broker.do_enqueue("tests", str(uuid.uuid4()), b"no JSON")
    run_id = send(engine, broker, job)
    with working(broker):
        assert wait_for_end(engine, run_id).state == "succeeded"


def test_job_that_is_due_soon_does_not_wait_for_those_due_later(
    engine: Engine, broker: K9opsRedisBroker, job: dramatiq.Actor[..., Any]
) -> None:
    enqueue_runs(engine, broker, job, [{}] * 8000, delay_s=FAR_OFF_S)
    for _ in range(3):
        job.send_with_options(delay=int(FAR_OFF_S * 1000))
    assert broker.client.keys("dramatiq:tests*") == []
    with working(broker):
        soon = enqueue_runs(engine, broker, job, [{}], delay_s=0.2)
        plain = job.send_with_options(delay=200)
        for run_id in (soon[0].run_id, plain.message_id):
            run = wait_for_end(engine, run_id)
            assert run.state == "succeeded"
            assert run.started_at is not None
            assert run.started_at >= run.due_at


def test_delayed_message_goes_to_redis_while_the_ledger_is_away(
    engine: Engine, broker: K9opsRedisBroker, job: dramatiq.Actor[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE k9ops.run RENAME TO gone")
    message = job.send_with_options(delay=100)
    assert broker.client.llen("dramatiq:tests.DQ") == 1
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE k9ops.gone RENAME TO run")
    with working(broker):
        wait_for(lambda: not broker.client.hlen("dramatiq:tests.DQ.msgs"))
        wait_for(lambda: not broker.client.hlen("dramatiq:tests.msgs"))
        assert wait_for_end(engine, message.message_id).state == "succeeded"


def test_worker_keeps_its_connections(engine: Engine, broker: K9opsRedisBroker, job: dramatiq.Actor[..., Any]) -> None:
    sessions: set[int] = set()

    @dramatiq.actor(broker=broker, queue_name="tests")
    def note_session() -> Outcome:
        with get_engine().connect() as connection:
            sessions.add(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
        return Outcome("succeeded", "Noted.", {"n": 1})

    with working(broker, threads=8):
        runs = enqueue_runs(engine, broker, note_session, [{}] * 100)
        for item in runs:
            wait_for_end(engine, item.run_id)
    assert len(sessions) <= 10


@pytest.mark.usefixtures("no_resend")
def test_message_that_cannot_be_given_back_is_executed_here(
    engine: Engine, broker: K9opsRedisBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end, refused = threading.Event(), threading.Event()

    def wait_long() -> Outcome:
        assert may_end.wait(DEADLINE_S)
        return Outcome("succeeded", "Waited.", {"n": 1})

    def refuse(*_: Any) -> int:
        refused.set()
        raise redis.ConnectionError("refused")

    long = dramatiq.actor(wait_long, broker=broker, queue_name="tests")
    short = dramatiq.actor(touch, broker=broker, queue_name="tests")
    monkeypatch.setattr(broker, "put_back_first", refuse)
    broker.capacity.note_duration(0.0)
    sent = [send(engine, broker, actor) for actor in (long, short)]
    with working(broker, threads=1):
        assert refused.wait(DEADLINE_S)
        may_end.set()
        assert [wait_for_end(engine, run_id).attempt for run_id in sent] == [1, 1]


def test_consumer_that_holds_enough_fetches_no_single_message(
    engine: Engine, broker: K9opsRedisBroker, job: dramatiq.Actor[..., Any]
) -> None:
    enqueue_runs(engine, broker, job, [{}] * 10)
    broker.capacity.begin(2)
    broker.capacity.note_duration(0.001)
    consumer = broker.consume("tests", prefetch=4, timeout=50)
    first, second, *_ = [next(consumer) for _ in range(4)]
    assert broker.count_waiting("tests") == 6

    consumer.ack(first)
    broker.find_gate("tests").bell.set()  # as of a message that was given up while others were being fetched
    assert next(consumer) is None
    assert broker.count_waiting("tests") == 6

    consumer.ack(second)
    assert next(consumer) is not None
    assert broker.count_waiting("tests") == 4
    broker.capacity.begin(None)
