"""Equal requests of a coalesced job have one run as long as it has not ended."""

from __future__ import annotations

import json
import threading
import uuid

import dramatiq
from sqlalchemy import Engine, text

from k9ops.broker.build import K9opsRedisBroker
from k9ops.broker.enqueue import Enqueued, enqueue_run
from k9ops.config.settings import get_settings
from k9ops.ledger.model import NewRun
from k9ops.ledger.requests import LOCK_TWINS, insert_run


def declare(broker: K9opsRedisBroker) -> dramatiq.Actor[..., None]:
    @dramatiq.actor(broker=broker, actor_name="made_once", queue_name="reports", is_coalesced=True)
    def made_once(*, what: str, how: dict[str, str] | None = None) -> None:
        raise AssertionError("nobody runs it")

    return made_once


def test_requests_at_once_have_one_run(broker: K9opsRedisBroker, engine: Engine) -> None:
    actor = declare(broker)
    answers: list[Enqueued] = []
    together = threading.Barrier(4)

    def ask() -> None:
        together.wait()
        params = {"what": "dogs", "how": {"a": "1", "b": "2"}}
        answers.append(enqueue_run(engine, broker, get_settings(), actor, params, requested_by="user0001"))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer.run_id for answer in answers}) == 1
    assert sorted(answer.is_new for answer in answers) == [False, False, False, True]
    assert count(engine) == 1


def count(engine: Engine) -> int:
    with engine.begin() as connection:
        return connection.scalar(text("SELECT count(*) FROM k9ops.run")) or 0


def test_another_requester_other_params_and_an_ended_run_get_their_own(
    broker: K9opsRedisBroker, engine: Engine
) -> None:
    actor = declare(broker)

    def ask(requested_by: str, **params: str) -> uuid.UUID:
        return enqueue_run(engine, broker, get_settings(), actor, params, requested_by=requested_by).run_id

    first = ask("a", what="dogs")
    assert ask("a", what="dogs") == first
    assert ask("b", what="dogs") != first
    assert ask("a", what="cats") != first
    with engine.begin() as connection:
        connection.execute(text("UPDATE k9ops.run SET state = 'failed' WHERE id = :id"), {"id": first})
    assert ask("a", what="dogs") != first


def test_request_for_a_slot_whose_run_has_ended_is_answered_with_that_run(
    broker: K9opsRedisBroker, engine: Engine
) -> None:
    @dramatiq.actor(broker=broker, actor_name="made_for_a_slot", queue_name="reports", is_coalesced=True)
    def made_for_a_slot(*, slot: str) -> None:
        raise AssertionError("nobody runs it")

    first = enqueue_run(engine, broker, get_settings(), made_for_a_slot, {"slot": "2026-11-24T02:00:00+03:00"})
    with engine.begin() as connection:
        connection.execute(text("UPDATE k9ops.run SET state = 'failed'"))
    again = enqueue_run(engine, broker, get_settings(), made_for_a_slot, {"slot": "2026-11-24T02:00:00+03:00"})
    assert (again.run_id, again.is_new) == (first.run_id, False)
    assert count(engine) == 1


def test_a_request_waits_for_an_equal_one_that_is_being_recorded(broker: K9opsRedisBroker, engine: Engine) -> None:
    actor = declare(broker)
    answers: list[Enqueued] = []
    params = {"what": "dogs"}
    thread = threading.Thread(
        target=lambda: answers.append(enqueue_run(engine, broker, get_settings(), actor, params, requested_by="a"))
    )
    twin = NewRun(job="made_once", queue="reports", params=params, requested_by="a")
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    with engine.begin() as connection:
        connection.execute(LOCK_TWINS, {"job": twin.job, "params": json.dumps(params)})
        insert_run(connection, twin, is_sent=True)
        thread.start()
        while thread.is_alive() and not connection.scalar(waiting):
            thread.join(0.02)
    thread.join()
    assert (answers[0].run_id, answers[0].is_new) == (twin.id, False)
