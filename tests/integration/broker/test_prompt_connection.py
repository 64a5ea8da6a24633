"""What the sockets of a request are told: how often it connects, and how long it may wait in all."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dramatiq
import pytest
from sqlalchemy import Engine
from tests.chaos.proxy import Proxy
from tests.integration.broker.test_fallback import count_connections, silent_broker
from tests.processes import wait_for

from k9ops.broker import prompt_connection
from k9ops.broker.breaker import CircuitBreaker
from k9ops.broker.build import build_broker
from k9ops.broker.enqueue import Enqueued, enqueue_run
from k9ops.broker.prompt_connection import find_prompt_class, limit_request
from k9ops.broker.redis_broker import K9opsRedisBroker
from k9ops.config.settings import get_loaded_settings, get_settings
from k9ops.outcome import Outcome

LIMIT_S = 0.2


def ask(engine: Engine, broker: K9opsRedisBroker) -> Enqueued:
    actor = broker.actors.get("probe")
    if actor is None:

        @dramatiq.actor(broker=broker, queue_name="tests")
        def probe() -> Outcome:
            return Outcome("succeeded", "Done.", {"n": 1})

        actor = probe
    return enqueue_run(engine, broker, get_settings(), actor, {})


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each wait of this thread's sockets may be, in the order in which they are told."""
    told: list[float] = []

    class TellingSocket(socket.socket):
        def settimeout(self, value: float | None) -> None:
            if threading.current_thread() is threading.main_thread():
                told.append(float("inf") if value is None else value)
            super().settimeout(value)

    monkeypatch.setattr(socket, "socket", TellingSocket)
    return told


@contextmanager
def passing_clock(monkeypatch: pytest.MonkeyPatch, step_s: float) -> Iterator[None]:
    """Let the time of requests pass by a step at each look at it."""
    now_s = 1000.0

    class Clock:
        @staticmethod
        def monotonic() -> float:
            nonlocal now_s
            now_s += step_s
            return now_s

    with monkeypatch.context() as change:
        change.setattr(prompt_connection, "time", Clock)
        yield


def test_request_connects_once_and_then_only_the_breaker_does(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    with silent_broker(monkeypatch) as (broker, server):
        may_probe, has_probed = threading.Semaphore(0), threading.Semaphore(0)

        def probe() -> None:
            may_probe.acquire()
            try:
                broker.sender.ping()
            finally:
                has_probed.release()

        broker.breaker = CircuitBreaker(probe, pause_s=0)
        assert ask(engine, broker).path == "outbox"
        assert count_connections(server) == 1
        assert waits
        assert max(waits) <= LIMIT_S
        waits.clear()
        assert {ask(engine, broker).path for _ in range(5)} == {"outbox"}
        assert (count_connections(server), waits) == (0, [])
        may_probe.release()
        assert has_probed.acquire(timeout=60)
        assert count_connections(server) == 1
        assert {ask(engine, broker).path for _ in range(5)} == {"outbox"}
        assert count_connections(server) == 0
        broker.breaker.close()
        may_probe.release()
        wait_for(lambda: has_probed.acquire(blocking=False))


def test_waits_of_a_request_are_shorter_by_what_has_passed(waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Three addresses of a host, none of which takes the connection."""
    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))] * 3
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
    connection = find_prompt_class("redis://k9")(socket_timeout=LIMIT_S, socket_connect_timeout=LIMIT_S)
    with passing_clock(monkeypatch, 0.06), limit_request(LIMIT_S), pytest.raises(Exception, match="refused"):
        connection.connect()
    assert waits == pytest.approx([0.14, 0.08, 0.02])
    with passing_clock(monkeypatch, 1), limit_request(LIMIT_S):
        assert (connection.socket_timeout, connection.socket_connect_timeout) == (0.001, 0.001)
    assert (connection.socket_timeout, connection.socket_connect_timeout) == (LIMIT_S, LIMIT_S)


@pytest.mark.parametrize("url", ["redis://k9", "rediss://k9", "unix:///run/k9.sock"])
def test_longest_wait_is_the_shorter_of_both_limits(url: str) -> None:
    connection = find_prompt_class(url)()
    connection.socket_timeout = 3.0
    connection.socket_connect_timeout = None
    with limit_request(1000):
        assert connection.socket_timeout == 3.0
        assert 900 < (connection.socket_connect_timeout or 0) <= 1000
    assert connection.socket_connect_timeout is None


def test_redis_that_answers_each_step_in_time_but_all_too_late_is_away(
    engine: Engine, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, _, port = redis_url.rpartition(":")
    with Proxy(int(port)) as proxy:
        proxy.delay_s = LIMIT_S / 2
        monkeypatch.setenv("REDIS_URL", f"{address}:{proxy.port}")
        monkeypatch.setenv("K9OPS_SEND_TIMEOUT_S", str(LIMIT_S))
        get_loaded_settings.cache_clear()
        broker = build_broker(get_settings())
        assert isinstance(broker, K9opsRedisBroker)
        assert ask(engine, broker).path == "outbox"
        broker.close()
        proxy.delay_s = 0
        broker.client.close()
        broker.get_results_backend().client.close()
