"""What `actor.send()` costs, and what becomes of it, while Redis or PostgreSQL is away."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dramatiq
import pytest
from sqlalchemy import Engine
from tests.chaos.proxy import Proxy
from tests.integration.broker.test_fallback import count_connections, silent_broker
from tests.integration.broker.test_worker import redis_away, wait_for_end, working
from tests.processes import wait_for

from k9ops.broker.build import build_broker
from k9ops.broker.plain_sending import RECORDED_OPTION
from k9ops.broker.redis_broker import K9opsRedisBroker
from k9ops.broker.sending import relay_unsent_runs
from k9ops.config.settings import get_loaded_settings, get_settings
from k9ops.db.engine import dispose_engine, get_engine
from k9ops.embedded.valkey import ValkeyServer
from k9ops.errors import BrokerUnavailable
from k9ops.ledger.execution import current_execution
from k9ops.ledger.model import Run
from k9ops.ledger.requests import get_run, list_runs
from k9ops.outcome import Outcome


@pytest.fixture
def executed() -> list[str]:
    """The ids of the runs that were executed, one for each time."""
    return []


@pytest.fixture
def note(broker: K9opsRedisBroker, executed: list[str]) -> dramatiq.Actor[..., Any]:
    return make_note(broker, executed)


def make_note(broker: dramatiq.Broker, executed: list[str]) -> dramatiq.Actor[..., Any]:
    @dramatiq.actor(broker=broker, queue_name="tests")
    def note(number: int = 0) -> Outcome:
        executed.append(str(current_execution().run_id))
        return Outcome("succeeded", "Noted.", {"number": number})

    return note


@contextmanager
def frozen(server: ValkeyServer) -> Iterator[None]:
    """Let a server do nothing during the block, with its connections open."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


@contextmanager
def postgres_away(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Point the process's engine at a port where nobody listens."""
    with monkeypatch.context() as change:
        change.setenv("DATABASE_URL", "postgresql://k9@127.0.0.1:1/k9")
        reload_settings()
        yield
    reload_settings()


def reload_settings() -> None:
    get_loaded_settings.cache_clear()
    dispose_engine()


def find_run(engine: Engine, message: dramatiq.Message[Any]) -> Run:
    return get_run(engine, uuid.UUID(message.message_id))


def test_sent_run_is_accepted_while_redis_refuses_and_executed_once_when_it_is_back(
    engine: Engine,
    broker: K9opsRedisBroker,
    note: dramatiq.Actor[..., Any],
    executed: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker.breaker._pause_s = 0.01
    with redis_away(broker, monkeypatch):
        messages = [note.send(number) for number in range(3)]
        assert broker.breaker.is_open
        assert {(run.state, run.trigger, run.sent_at) for run in list_runs(engine)} == {("queued", "send", None)}
    wait_for(lambda: not broker.breaker.is_open)
    messages.append(note.send(3))
    assert find_run(engine, messages[3]).sent_at is not None
    with working(broker):
        runs = [wait_for_end(engine, message.message_id) for message in messages]
        results = [message.get_result(block=True, timeout=5000)["evidence"]["number"] for message in messages]
    assert [(run.state, run.path, run.attempt) for run in runs] == [("succeeded", "worker", 1)] * 4
    assert results == [0, 1, 2, 3]
    assert sorted(executed) == sorted(message.message_id for message in messages)


def test_sent_run_is_executed_once_when_a_frozen_redis_has_its_message_after_all(
    engine: Engine,
    broker: K9opsRedisBroker,
    note: dramatiq.Actor[..., Any],
    executed: list[str],
    no_resend: None,
    valkey_server: ValkeyServer,
) -> None:
    note.send(0)  # the connection stands
    broker._send_timeout_s = 0.2
    with frozen(valkey_server):
        late, unasked = note.send(1), note.send(2)
        assert broker.breaker.is_open
        assert [find_run(engine, message).sent_at for message in (late, unasked)] == [None, None]
    # What it was told while it stood still it does now.
    wait_for(lambda: broker.count_waiting("tests") == 2)
    assert relay_unsent_runs(engine, broker, resend_after_s=3600) == 2
    assert broker.count_waiting("tests") == 4
    with working(broker):
        runs = [wait_for_end(engine, run.id) for run in list_runs(engine)]
        broker.join("tests")
    assert [(run.state, run.attempt) for run in runs] == [("succeeded", 1)] * 3
    assert len(executed) == len(set(executed)) == 3


def test_sent_run_is_executed_once_when_the_reply_of_redis_is_lost(
    engine: Engine, redis_url: str, executed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, _, port = redis_url.rpartition(":")
    with Proxy(int(port)) as proxy:
        monkeypatch.setenv("REDIS_URL", f"{address}:{proxy.port}")
        get_loaded_settings.cache_clear()
        with built_broker() as broker:
            note = make_note(broker, executed)
            proxy.lose_replies(b"EXEC", 1)
            message = note.send()
            assert proxy.lost_replies == 1
            assert (broker.count_waiting("tests"), find_run(engine, message).sent_at) == (1, None)
            assert relay_unsent_runs(engine, broker, resend_after_s=3600) == 1
            with working(broker):
                assert wait_for_end(engine, message.message_id).attempt == 1
                broker.join("tests")
    assert executed == [message.message_id]


@contextmanager
def built_broker() -> Iterator[K9opsRedisBroker]:
    broker = build_broker(get_settings())
    assert isinstance(broker, K9opsRedisBroker)
    yield broker
    broker.close()
    broker.client.close()
    broker.get_results_backend().client.close()


def test_silent_redis_costs_one_send_a_connection_and_the_next_nothing_until_it_answers(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, executed: list[str], redis_url: str
) -> None:
    with silent_broker(monkeypatch) as (broker, server):
        note = make_note(broker, executed)
        note.send()
        assert count_connections(server) == 1
        for _ in range(5):
            note.send()
            note.send_with_options(delay=60_000)
        assert count_connections(server) == 0
        assert broker.breaker.is_open
    assert {(run.state, run.sent_at) for run in list_runs(engine)} == {("queued", None)}


def test_run_for_later_asks_no_redis(
    engine: Engine, broker: K9opsRedisBroker, note: dramatiq.Actor[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with redis_away(broker, monkeypatch):
        message = note.send_with_options(args=(1,), delay=3_600_000)
        assert not broker.breaker.is_open
    assert (find_run(engine, message).sent_at, find_run(engine, message).state) == (None, "queued")


def test_message_that_neither_takes_is_refused_and_not_recorded(
    engine: Engine, broker: K9opsRedisBroker, note: dramatiq.Actor[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with redis_away(broker, monkeypatch), postgres_away(monkeypatch):
        with pytest.raises(BrokerUnavailable, match="Redis does not take messages"):
            note.send()
        # It has no second way, so that the breaker does not speak for Redis.
        assert not broker.breaker.is_open


def test_message_that_redis_alone_takes_is_recorded_and_executed_by_a_worker(
    settings: Any,
    broker: K9opsRedisBroker,
    note: dramatiq.Actor[..., Any],
    executed: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with postgres_away(monkeypatch):
        message = note.send(7)
        assert RECORDED_OPTION not in message.options
    assert list_runs(get_engine()) == []
    with working(broker):
        wait_for(lambda: list_runs(get_engine()))
        run = wait_for_end(get_engine(), message.message_id)
    assert (run.state, run.params, executed) == ("succeeded", {"*": [7]}, [message.message_id])


def test_copy_of_a_recorded_message_is_not_taken_for_accepted(
    engine: Engine, broker: K9opsRedisBroker, note: dramatiq.Actor[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    message = note.send()
    with redis_away(broker, monkeypatch), pytest.raises(BrokerUnavailable, match="Redis does not take messages"):
        broker.enqueue(message)
    assert len(list_runs(engine)) == 1
