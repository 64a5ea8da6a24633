from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import dramatiq
import pytest
from sqlalchemy import Engine
from tests.integration.broker.test_worker import redis_away, wait_for_end, working

from k9ops.broker.batches import enqueue_runs
from k9ops.broker.enqueue import enqueue_run
from k9ops.broker.redis_broker import K9opsRedisBroker
from k9ops.config.settings import get_settings
from k9ops.errors import BrokerUnavailable, ParamsInvalid
from k9ops.ledger.requests import get_run, list_runs
from k9ops.outcome import Outcome

SLOTS = [f"2026-11-2{day}T02:00:00+03:00" for day in range(4)]


@pytest.fixture
def calls() -> list[int]:
    return []


@pytest.fixture
def note(broker: K9opsRedisBroker, calls: list[int]) -> dramatiq.Actor[..., Any]:
    @dramatiq.actor(broker=broker, queue_name="tests", max_lateness=3_600_000)
    def note(*, number: int, slot: str | None = None) -> Outcome:
        calls.append(number)
        return Outcome("succeeded", "Noted.", {"number": number})

    return note


@pytest.mark.usefixtures("no_resend")
def test_enqueue_runs_records_and_sends_each(
    engine: Engine, broker: K9opsRedisBroker, note: dramatiq.Actor[..., Any], calls: list[int]
) -> None:
    with working(broker, threads=4):
        found = enqueue_runs(engine, broker, note, ({"number": number} for number in range(1201)), requested_by="Sara")
        runs = [wait_for_end(engine, item.run_id) for item in found]
    assert sorted(calls) == list(range(1201))
    assert [run.params["number"] for run in runs] == list(range(1201))
    assert {(item.is_new, item.path) for item in found} == {(True, "worker")}
    assert {(run.state, run.attempt, run.sends, run.requested_by, run.trigger) for run in runs} == {
        ("succeeded", 1, 1, "Sara", "enqueue")
    }
    assert all(run.expires_at and run.expires_at - run.created_at < timedelta(hours=1, minutes=1) for run in runs)


def test_enqueue_runs_answers_with_the_runs_of_the_slots(
    engine: Engine, broker: K9opsRedisBroker, note: dramatiq.Actor[..., Any]
) -> None:
    first = enqueue_run(engine, broker, get_settings(), note, {"number": 0, "slot": SLOTS[0]})
    found = enqueue_runs(engine, broker, note, [{"number": 1, "slot": slot} for slot in (*SLOTS, SLOTS[3])])
    assert [item.is_new for item in found] == [False, True, True, True, False]
    assert found[0].run_id == first.run_id
    assert found[4].run_id == found[3].run_id
    assert len(list_runs(engine)) == broker.count_waiting("tests") == 4


def test_enqueue_runs_gives_equal_requests_one_run_where_the_job_says_so(
    engine: Engine, broker: K9opsRedisBroker
) -> None:
    @dramatiq.actor(broker=broker, queue_name="tests", is_coalesced=True)
    def draw(*, report: str) -> Outcome:
        return Outcome("succeeded", "Drawn.", {"report": report})

    first = enqueue_run(engine, broker, get_settings(), draw, {"report": "b"})
    found = enqueue_runs(engine, broker, draw, [{"report": name} for name in "abac"])
    assert [item.is_new for item in found] == [True, False, False, True]
    assert found[1].run_id == first.run_id
    assert found[2].run_id == found[0].run_id
    assert broker.count_waiting("tests") == 3


def test_enqueue_runs_records_nothing_when_one_is_refused(
    engine: Engine, broker: K9opsRedisBroker, note: dramatiq.Actor[..., Any]
) -> None:
    for wrong in ({"numbre": 1}, {"number": float("nan")}, {"number": 1, "slot": "2026-11-24T02:00:00"}):
        with pytest.raises(ParamsInvalid):
            enqueue_runs(engine, broker, note, [{"number": 1}, wrong])
    assert enqueue_runs(engine, broker, note, []) == []
    assert list_runs(engine) == []


def test_enqueue_runs_leaves_them_to_the_relay_when_redis_is_away(
    engine: Engine, broker: K9opsRedisBroker, note: dramatiq.Actor[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with redis_away(broker, monkeypatch):
        found = enqueue_runs(engine, broker, note, [{"number": number} for number in range(3)])
        assert {item.path for item in found} == {"outbox"}
        with pytest.raises(BrokerUnavailable):
            enqueue_runs(engine, broker, note, [{"number": 3}], fallback="raise")
    assert all(run.sent_at is None for run in list_runs(engine))
    with working(broker):
        assert {wait_for_end(engine, run.id).state for run in list_runs(engine)} == {"succeeded"}


def test_enqueue_runs_follows_the_callers_transaction(
    engine: Engine, broker: K9opsRedisBroker, note: dramatiq.Actor[..., Any]
) -> None:
    due_at = datetime.now(UTC) + timedelta(hours=1)
    with engine.connect() as connection:
        enqueue_runs(engine, broker, note, [{"number": 1}] * 3, connection=connection)
        connection.rollback()
        kept = enqueue_runs(engine, broker, note, [{"number": 1}], connection=connection)
        late = enqueue_runs(engine, broker, note, [{"number": 2}], connection=connection, delay_s=3660)
        assert broker.count_waiting("tests") == 0
        connection.commit()
    assert {item.path for item in kept + late} == {"outbox"}
    assert get_run(engine, late[0].run_id).due_at > due_at
    with working(broker):
        wait_for_end(engine, kept[0].run_id)
    assert len(list_runs(engine)) == 2
