"""A paused queue, with a real worker on a real Redis and a real PostgreSQL."""

from __future__ import annotations

import threading
import uuid
from typing import Any

import dramatiq
import pytest
from sqlalchemy import Engine
from tests.integration.broker.test_worker import send, wait_for_end, working
from tests.processes import DEADLINE_S, wait_for

from k9ops.broker import enqueue as enqueue_module
from k9ops.broker.build import K9opsRedisBroker
from k9ops.broker.inline import execute_inline
from k9ops.config.settings import get_settings
from k9ops.errors import BrokerUnavailable, RunStateConflict
from k9ops.ledger.outbox import take_unsent_runs
from k9ops.ledger.queues import pause_queue, read_pauses, resume_queue
from k9ops.ledger.requests import get_run
from k9ops.outcome import Outcome


class Work:
    """What the job has done, and whether it may end."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.began = threading.Event()
        self.may_end = threading.Event()


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def dig(broker: K9opsRedisBroker, work: Work) -> dramatiq.Actor[..., Any]:
    @dramatiq.actor(broker=broker, queue_name="tests", is_inline_safe=True)
    def dig(*, hole: int) -> Outcome:
        work.began.set()
        assert work.may_end.wait(DEADLINE_S)
        work.done.append(hole)
        return Outcome("succeeded", "Dug.", {"hole": hole})

    return dig


def pause(engine: Engine) -> None:
    assert pause_queue(engine, "tests", paused_by="omar", origin="test", reason="to see")


def resume(engine: Engine) -> None:
    assert resume_queue(engine, "tests", resumed_by="omar", origin="test", reason=None)


@pytest.mark.usefixtures("no_resend")
def test_paused_queue_begins_nothing_and_goes_on_without_loss(
    engine: Engine, broker: K9opsRedisBroker, dig: dramatiq.Actor[..., Any], work: Work
) -> None:
    first = send(engine, broker, dig, hole=1)
    with working(broker):
        assert work.began.wait(DEADLINE_S)
        pause(engine)
        assert not pause_queue(engine, "tests", paused_by="salem", origin=None, reason=None)
        held = [send(engine, broker, dig, hole=hole) for hole in (2, 3, 4)]

        def are_spent() -> bool:
            return all(get_run(engine, run_id).sent_at is None for run_id in held)

        wait_for(are_spent)
        work.may_end.set()
        assert wait_for_end(engine, first).state == "succeeded"
        wait_for(lambda: broker.client.llen(f"{broker.namespace}:tests") == 0)
        assert [(run.state, run.attempt, run.started_at) for run in (get_run(engine, item) for item in held)] == [
            ("queued", 0, None)
        ] * 3
        assert read_pauses(engine)["tests"].reason == "to see"
        resume(engine)
        assert not resume_queue(engine, "tests", resumed_by="omar", origin=None, reason=None)
        runs = [wait_for_end(engine, run_id) for run_id in held]
    assert [(run.state, run.attempt) for run in runs] == [("succeeded", 1)] * 3
    assert sorted(work.done) == [1, 2, 3, 4]


def test_relay_leaves_the_runs_of_a_paused_queue(
    engine: Engine, broker: K9opsRedisBroker, dig: dramatiq.Actor[..., Any]
) -> None:
    pause(engine)
    run_id = enqueue_module.enqueue_run(engine, broker, get_settings(), dig, {"hole": 1}, delay_s=0.001).run_id
    wait_for(lambda: get_run(engine, run_id).due_at < get_run(engine, send(engine, broker, dig, hole=2)).created_at)
    assert take_unsent_runs(engine, resend_after_s=0) == []
    resume(engine)
    assert run_id in {run.id for run in take_unsent_runs(engine, resend_after_s=0)}


def test_fallback_waits_for_a_paused_queue_and_a_person_does_not(
    engine: Engine,
    broker: K9opsRedisBroker,
    dig: dramatiq.Actor[..., Any],
    work: Work,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BrokerUnavailable("Redis does not take messages.")

    work.may_end.set()
    pause(engine)
    monkeypatch.setattr(enqueue_module, "send_messages", refuse)
    asked = enqueue_module.enqueue_run(engine, broker, get_settings(), dig, {"hole": 1}, fallback="inline")
    assert (asked.path, work.done) == ("outbox", [])
    with pytest.raises(RunStateConflict):
        execute_inline(engine, broker, get_settings(), asked.run_id)
    assert get_run(engine, asked.run_id).sent_at is None
    ended = execute_inline(engine, broker, get_settings(), uuid.UUID(str(asked.run_id)), is_forced=True)
    assert (ended.state, work.done) == ("succeeded", [1])
