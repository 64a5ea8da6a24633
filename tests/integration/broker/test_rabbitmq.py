"""The same ledger with RabbitMQ as the broker: a node of its own for these tests."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dramatiq
import pika
import pytest
from sqlalchemy import Engine, text
from tests.certificates import Authority
from tests.integration.broker.test_worker import send, wait_for_end, working
from tests.processes import wait_for, worker_process
from tests.rabbitmq_server import RabbitmqServer

from k9ops.broker.batches import enqueue_runs
from k9ops.broker.build import build_broker
from k9ops.broker.enqueue import enqueue_run
from k9ops.broker.inspection import count_messages, list_dead_letters
from k9ops.broker.rabbitmq_broker import K9opsRabbitmqBroker, read_version
from k9ops.broker.rabbitmq_publishing import publish_together
from k9ops.broker.sending import relay_unsent_runs
from k9ops.config.settings import get_loaded_settings, get_settings
from k9ops.errors import BrokerUnavailable, PermanentError, TransientError
from k9ops.ledger.execution import current_run
from k9ops.ledger.model import NewRun
from k9ops.ledger.requests import get_run, list_runs, record_run
from k9ops.outcome import Outcome

MANY = 300


@pytest.fixture
def broker(
    engine: Engine, rabbitmq_server: RabbitmqServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[K9opsRabbitmqBroker]:
    """A broker with every middleware of the product."""
    monkeypatch.setenv("K9OPS_BROKER_URL", rabbitmq_server.url)
    get_loaded_settings.cache_clear()
    broker = build_broker(get_settings())
    assert isinstance(broker, K9opsRabbitmqBroker)
    previous = dramatiq.broker.global_broker
    dramatiq.set_broker(broker)
    yield broker
    dramatiq.set_broker(previous)
    broker.close()


@pytest.fixture
def queue() -> str:
    """A queue that no other test has."""
    return f"tests_{uuid.uuid4().hex[:8]}"


@pytest.fixture
def job(broker: K9opsRabbitmqBroker, queue: str) -> dramatiq.Actor[..., Any]:
    @dramatiq.actor(broker=broker, queue_name=queue, max_retries=2, min_backoff=1, max_backoff=1)
    def job(*, problem: str = "") -> Outcome:
        run = current_run()
        assert run is not None
        if problem == "once" and run.claim.run.attempt == 1:
            raise TransientError("The first time only.")
        if problem == "always":
            raise PermanentError("The table is missing.")
        return Outcome("succeeded", "Done.", {"attempt": run.claim.run.attempt})

    return job


def test_worker_records_each_outcome_once(
    engine: Engine, broker: K9opsRabbitmqBroker, job: dramatiq.Actor[..., Any], queue: str
) -> None:
    plain = job.send()
    ids = {problem: send(engine, broker, job, problem=problem) for problem in ("", "once", "always")}
    # A second copy of a message, as after a connection that was lost before its acknowledgement.
    broker.enqueue(plain.copy())
    with working(broker):
        runs = {problem: wait_for_end(engine, run_id) for problem, run_id in ids.items()}
        sent = wait_for_end(engine, plain.message_id)
        wait_for(lambda: list_dead_letters(broker, [queue]))
    assert {problem: (run.state, run.attempt, run.path) for problem, run in runs.items()} == {
        "": ("succeeded", 1, "worker"),
        "once": ("succeeded", 2, "worker"),
        "always": ("failed", 1, "worker"),
    }
    assert (sent.state, sent.attempt, sent.trigger) == ("succeeded", 1, "send")
    assert len(list_runs(engine)) == 4
    (letter,) = list_dead_letters(broker, [queue])
    assert (letter.message_id, letter.job, letter.queue) == (str(ids["always"]), "job", queue)
    (left,) = count_messages(broker, [queue])
    assert (left.waiting, left.delayed, left.fetched) == (0, 0, None)


def test_run_for_later_waits_in_the_ledger_alone(
    engine: Engine, broker: K9opsRabbitmqBroker, job: dramatiq.Actor[..., Any], queue: str
) -> None:
    later = enqueue_run(engine, broker, get_settings(), job, {}, delay_s=3600).run_id
    message = job.send_with_options(delay=3_600_000)
    assert [(item.waiting, item.delayed) for item in count_messages(broker, [queue])] == [(0, 0)]
    with engine.begin() as connection:
        connection.execute(text("UPDATE k9ops.run SET due_at = now()"))
    with working(broker):
        runs = [wait_for_end(engine, run_id) for run_id in (later, message.message_id)]
    assert {(run.state, run.attempt) for run in runs} == {("succeeded", 1)}


def test_many_runs_are_sent_and_executed_once_each(
    engine: Engine, broker: K9opsRabbitmqBroker, job: dramatiq.Actor[..., Any], queue: str
) -> None:
    asked = enqueue_runs(engine, broker, job, [{} for _ in range(MANY)])
    assert {item.path for item in asked} == {"worker"}
    # RabbitMQ counts a moment after it has confirmed.
    wait_for(lambda: count_messages(broker, [queue])[0].waiting == MANY)
    assert broker.find_backlogged() == [queue]
    with working(broker, threads=4):
        wait_for(lambda: all(get_run(engine, item.run_id).is_final for item in asked))
    runs = [get_run(engine, item.run_id) for item in asked]
    assert {(run.state, run.attempt) for run in runs} == {("succeeded", 1)}


def test_messages_sent_together_are_not_taken_for_sent_when_rabbitmq_refuses_one(
    rabbitmq_server: RabbitmqServer, queue: str
) -> None:
    arguments = {"x-queue-type": "quorum", "x-max-length": 1, "x-overflow": "reject-publish"}
    with pika.BlockingConnection(pika.URLParameters(rabbitmq_server.url)) as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True, arguments=arguments)
        with contextlib.suppress(pika.exceptions.NackError):
            publish_together(channel, [(queue, b"first")] * 5)  # it learns late that it is full
        with pytest.raises(pika.exceptions.NackError):
            publish_together(channel, [(queue, b"second")] * 5)
        # One that has no queue is told apart from those that have.
        channel.queue_delete(queue)
        channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
        assert publish_together(channel, [(queue, b"kept"), (f"no_{queue}", b"back")]) == [(f"no_{queue}", b"back")]
        assert publish_together(channel, [(queue, b"many")] * 500) == []


def test_runs_wait_in_the_outbox_while_rabbitmq_is_away_and_are_sent_when_it_is_back(
    engine: Engine,
    broker: K9opsRabbitmqBroker,
    job: dramatiq.Actor[..., Any],
    rabbitmq_server: RabbitmqServer,
) -> None:
    with working(broker):
        first = send(engine, broker, job)
        assert wait_for_end(engine, first).state == "succeeded"
        rabbitmq_server.kill()
        away = enqueue_run(engine, broker, get_settings(), job, {})
        assert away.path == "outbox"
        assert broker.breaker.is_open
        plain = job.send()
        assert get_run(engine, uuid.UUID(plain.message_id)).sent_at is None
        with pytest.raises(BrokerUnavailable, match="RabbitMQ did not answer a moment ago"):
            enqueue_run(engine, broker, get_settings(), job, {}, fallback="raise")
        with pytest.raises(BrokerUnavailable, match="RabbitMQ does not answer"):
            relay_unsent_runs(engine, broker, resend_after_s=60)
        rabbitmq_server.start()
        wait_for(lambda: all(run.is_final for run in list_runs(engine)))
    assert [(run.state, run.attempt) for run in list_runs(engine)] == [("succeeded", 1)] * 4


def test_frozen_rabbitmq_costs_one_request_a_moment_and_the_next_nothing(
    engine: Engine,
    broker: K9opsRabbitmqBroker,
    job: dramatiq.Actor[..., Any],
    rabbitmq_server: RabbitmqServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    send(engine, broker, job)
    monkeypatch.setattr(broker, "_send_timeout_s", 0.2)
    with rabbitmq_server.frozen():
        begun_s = time.monotonic()
        plain = job.send()
        assert 0.2 <= time.monotonic() - begun_s < 9
        assert broker.breaker.is_open
        assert get_run(engine, uuid.UUID(plain.message_id)).sent_at is None
        assert enqueue_run(engine, broker, get_settings(), job, {}).path == "outbox"
    wait_for(lambda: not broker.breaker.is_open)
    with working(broker):
        wait_for(lambda: all(run.is_final for run in list_runs(engine)))
    assert [(run.state, run.attempt) for run in list_runs(engine)] == [("succeeded", 1)] * 3


def test_runs_of_a_killed_worker_are_rescued_by_their_lease_and_poison_ends(
    engine: Engine, rabbitmq_server: RabbitmqServer, broker: K9opsRabbitmqBroker, tmp_path: Path
) -> None:
    environment = {"K9OPS_BROKER_URL": rabbitmq_server.url, "K9OPS_TEST_HOST": "first"}
    rescued, poison = (NewRun(job="hold", queue="hosts", params={"folder": str(tmp_path)}) for _ in range(2))
    for new in (rescued, poison):
        record_run(engine, new, is_sent=False)
    with engine.begin() as connection:
        connection.execute(text("UPDATE k9ops.run SET deaths = 2 WHERE id = :id"), {"id": poison.id})
    with worker_process("tests.chaos.hosts_worker", environment, threads=2) as worker:
        wait_for(lambda: all((tmp_path / f"begun-first-{new.id}").exists() for new in (rescued, poison)))
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
    (tmp_path / f"finish-second-{rescued.id}").touch()
    with worker_process("tests.chaos.hosts_worker", {**environment, "K9OPS_TEST_HOST": "second"}):
        runs = [wait_for_end(engine, new.id) for new in (rescued, poison)]
    assert [(run.state, run.error_class, run.deaths) for run in runs] == [
        ("succeeded", None, 1),
        ("failed", "poison", 3),
    ]
    assert runs[0].evidence == {"host": "second"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda url: url.replace("k9ops:", "k9ops:x"), "RabbitMQ refuses the user, the password"),
        (lambda url: url.replace("%2F", "nowhere"), "RabbitMQ has no such virtual host"),
    ],
)
def test_refusal_of_rabbitmq_is_told_with_what_to_do(
    change: Any, words: str, engine: Engine, rabbitmq_server: RabbitmqServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K9OPS_BROKER_URL", change(rabbitmq_server.url))
    get_loaded_settings.cache_clear()
    refused = build_broker(get_settings())
    with pytest.raises(BrokerUnavailable, match=words):
        count_messages(refused, ["tests"])
    refused.close()


def test_worker_executes_runs_over_tls_with_a_client_certificate(
    engine: Engine, rabbitmq_server: RabbitmqServer, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K9OPS_BROKER_URL", rabbitmq_server.tls_url_of("client"))
    get_loaded_settings.cache_clear()
    broker = build_broker(get_settings())

    @dramatiq.actor(broker=broker, queue_name=queue)
    def probe() -> Outcome:
        return Outcome("succeeded", "Done.", {"n": 1})

    with working(broker):
        plain = probe.send()
        asked = [item.run_id for item in enqueue_runs(engine, broker, probe, [{}] * 3)]
        assert {wait_for_end(engine, run_id).state for run_id in (plain.message_id, *asked)} == {"succeeded"}
    assert find_connections_without_tls(broker) == []
    broker.close()


def find_connections_without_tls(broker: Any) -> list[pika.URLParameters]:
    return [node for node in broker.parameters if node.ssl_options is None]


def test_refusal_of_a_tls_connection_is_told_with_what_to_do(rabbitmq_server: RabbitmqServer, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "stranger")
    certificate, key = stranger.issue("client")
    ca, good, port = rabbitmq_server.authority.ca_file, rabbitmq_server.tls_url_of("client"), rabbitmq_server.tls_port
    assert ask_version(good).startswith(("3.", "4."))
    refusals = {
        rabbitmq_server.tls_url: "certificate is not trusted",
        f"{rabbitmq_server.tls_url}?cacertfile={stranger.ca_file}": r"not trusted .* name its authority's in it",
        f"{rabbitmq_server.tls_url}?cacertfile={ca}": r"asks for .*\?certfile=",
        f"{rabbitmq_server.tls_url}?cacertfile={ca}&certfile={certificate}&keyfile={key}": "certificate .*it trusts",
        good.replace("@127.0.0.1", "@localhost"): "certificate is for another host",
        good.replace(f":{port}", f":{rabbitmq_server.port}"): "does not speak TLS on this port",
        rabbitmq_server.url.replace(f":{rabbitmq_server.port}", f":{port}"): "write amqps:// if it speaks TLS",
    }
    for url, words in refusals.items():
        with pytest.raises(BrokerUnavailable, match=words) as caught:
            ask_version(url)
        assert rabbitmq_server.password not in f"{caught.value} {caught.value.detail}"


def ask_version(url: str) -> str:
    broker = K9opsRabbitmqBroker(url, middleware=[], connect_timeout_s=30, send_timeout_s=30)
    try:
        return str(broker.ask(read_version))
    finally:
        broker.close()


def test_queue_of_another_kind_is_told_with_what_to_do(
    rabbitmq_server: RabbitmqServer, broker: K9opsRabbitmqBroker, queue: str
) -> None:
    with pika.BlockingConnection(pika.URLParameters(rabbitmq_server.url)) as connection:
        # As Dramatiq alone makes it.
        arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{queue}.XQ"}
        connection.channel().queue_declare(queue, durable=True, arguments=arguments)
    with pytest.raises(BrokerUnavailable, match=r"a queue of this name and of another kind"):
        count_messages(broker, [queue])


def test_queue_that_was_deleted_is_made_again_for_the_next_message(
    engine: Engine,
    rabbitmq_server: RabbitmqServer,
    broker: K9opsRabbitmqBroker,
    job: dramatiq.Actor[..., Any],
    queue: str,
) -> None:
    send(engine, broker, job)
    with pika.BlockingConnection(pika.URLParameters(rabbitmq_server.url)) as connection:
        connection.channel().queue_delete(queue)
    kept = send(engine, broker, job)
    with pika.BlockingConnection(pika.URLParameters(rabbitmq_server.url)) as connection:
        connection.channel().queue_delete(queue)
    together = [item.run_id for item in enqueue_runs(engine, broker, job, [{}] * 3)]
    wait_for(lambda: count_messages(broker, [queue])[0].waiting == 3)
    assert all(get_run(engine, run_id).sent_at is not None for run_id in (kept, *together))
    with working(broker):
        assert {wait_for_end(engine, run_id).state for run_id in (kept, *together)} == {"succeeded"}
