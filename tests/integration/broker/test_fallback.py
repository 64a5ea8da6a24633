"""What a request costs, and what becomes of it, while Redis is away."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import dramatiq
import pytest
import redis
from sqlalchemy import Engine
from tests.integration.broker.test_worker import redis_away, wait_for_end, working
from tests.processes import wait_for

from k9ops.broker.batches import enqueue_runs
from k9ops.broker.build import build_broker
from k9ops.broker.enqueue import Enqueued, enqueue_run
from k9ops.broker.redis_broker import K9opsRedisBroker
from k9ops.config.settings import get_loaded_settings, get_settings
from k9ops.errors import BrokerUnavailable
from k9ops.ledger.claims import claim_run
from k9ops.ledger.requests import get_run
from k9ops.ledger.statistics import summarise_jobs
from k9ops.outcome import Outcome

Ask = Callable[..., Enqueued]


@pytest.fixture
def lock(broker: K9opsRedisBroker) -> dramatiq.Actor[..., Any]:
    @dramatiq.actor(broker=broker, queue_name="tests", is_inline_safe=True, fallback="inline")
    def lock() -> Outcome:
        return Outcome("succeeded", "Locked.", {"n": 1})

    return lock


@pytest.fixture
def ask(engine: Engine, broker: K9opsRedisBroker, lock: dramatiq.Actor[..., Any]) -> Ask:
    def ask(**options: Any) -> Enqueued:
        return enqueue_run(engine, broker, get_settings(), lock, {}, **options)

    return ask


@contextmanager
def silent_server() -> Iterator[socket.socket]:
    """A server that takes connections and never answers, as a Redis that is paused."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@contextmanager
def silent_broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[K9opsRedisBroker, socket.socket]]:
    """A broker whose Redis takes connections and never answers, and whose breaker does not ask again by itself."""
    with silent_server() as server:
        monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setenv("K9OPS_SEND_TIMEOUT_S", "0.2")
        monkeypatch.setenv("K9OPS_CONNECT_TIMEOUT_S", "60")
        get_loaded_settings.cache_clear()
        broker = build_broker(get_settings())
        assert isinstance(broker, K9opsRedisBroker)
        broker.breaker._pause_s = 3600.0
        yield broker, server
        broker.breaker.close()
        broker.client.close()
        broker.sender.close()
        broker.get_results_backend().client.close()


@pytest.fixture
def paused_broker(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[K9opsRedisBroker, socket.socket]]:
    with silent_broker(monkeypatch) as found:
        yield found


def count_connections(server: socket.socket) -> int:
    server.setblocking(False)
    count = 0
    while True:
        try:
            server.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def test_paused_redis_costs_one_request_a_moment_and_the_next_nothing(
    engine: Engine, paused_broker: tuple[K9opsRedisBroker, socket.socket]
) -> None:
    broker, server = paused_broker

    @dramatiq.actor(broker=broker, queue_name="tests")
    def probe() -> Outcome:
        return Outcome("succeeded", "Done.", {"n": 1})

    started_s = time.monotonic()
    first = enqueue_run(engine, broker, get_settings(), probe, {})
    # Far below the ordinary limit of 60 s, and with room for a machine that is busy.
    assert time.monotonic() - started_s < 20
    assert count_connections(server) == 1
    rest = [enqueue_run(engine, broker, get_settings(), probe, {}) for _ in range(5)]
    rest += enqueue_runs(engine, broker, probe, [{}] * 5)
    assert count_connections(server) == 0
    assert {item.path for item in [first, *rest]} == {"outbox"}
    assert all(get_run(engine, item.run_id).sent_at is None for item in [first, *rest])


def test_requests_go_to_redis_again_when_it_is_back(
    broker: K9opsRedisBroker, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.breaker._pause_s = 0.01
    with redis_away(broker, monkeypatch):
        assert ask(fallback="outbox").path == "outbox"
        assert broker.breaker.is_open
    wait_for(lambda: not broker.breaker.is_open)
    assert ask().path == "worker"


def test_fallback_is_what_the_job_declares_unless_the_request_says_so(
    engine: Engine, broker: K9opsRedisBroker, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with redis_away(broker, monkeypatch):
        inline, outbox = ask(), ask(fallback="outbox")
        with pytest.raises(BrokerUnavailable):
            ask(fallback="raise")
    assert (inline.path, outbox.path) == ("inline", "outbox")
    assert get_run(engine, inline.run_id).state == "succeeded"
    assert get_run(engine, outbox.run_id).state == "queued"


def test_nothing_is_executed_inline_when_the_dual_run_has_ended(
    engine: Engine, broker: K9opsRedisBroker, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K9OPS_INLINE_FALLBACK", "off")
    get_loaded_settings.cache_clear()
    with redis_away(broker, monkeypatch):
        found = [ask(), ask(fallback="inline")]
    assert {(item.path, get_run(engine, item.run_id).state) for item in found} == {("outbox", "queued")}


def test_run_that_a_worker_took_meanwhile_is_not_executed_inline(
    engine: Engine, broker: K9opsRedisBroker, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_the_answer(messages: Any) -> None:
        claim_run(engine, messages[0].message_id, owner="worker", lease_s=60, path="worker")
        raise redis.TimeoutError("Timeout reading from socket")

    monkeypatch.setattr(broker, "enqueue_promptly", lose_the_answer)
    found = ask()
    assert (found.path, get_run(engine, found.run_id).path) == ("worker", "worker")


def test_statistics_count_the_runs_of_workers_and_of_callers(
    engine: Engine, broker: K9opsRedisBroker, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with redis_away(broker, monkeypatch):
        ask()
    waiting = [ask(fallback="outbox") for _ in range(2)]
    with working(broker):
        for item in waiting:
            wait_for_end(engine, item.run_id)
    (found,) = summarise_jobs(engine, since=datetime.now(UTC) - timedelta(hours=1))
    assert (found.runs, found.by_worker, found.inline) == (3, 2, 1)
