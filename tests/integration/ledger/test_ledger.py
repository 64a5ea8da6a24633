import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from k9ops.errors import RunNotFound, RunStateConflict
from k9ops.ledger.claims import Claim, claim_run, finish_run, put_back_run, renew_leases, retry_run
from k9ops.ledger.model import NewRun, Run
from k9ops.ledger.outbox import mark_unsent, take_unsent_runs
from k9ops.ledger.requests import (
    find_recorded_id,
    find_run,
    get_run,
    insert_run,
    list_runs,
    record_run,
    request_cancel,
    request_retry,
)
from k9ops.ledger.rescue import MAX_DEATHS, expire_late_runs, find_lost_claims, rescue_lost_runs

SLOT = datetime(2026, 11, 24, 2, tzinfo=UTC)


def record(engine: Engine, *, is_sent: bool = True, **fields: object) -> uuid.UUID:
    new = NewRun(job="create_backup", queue="backups", **fields)  # type: ignore[arg-type]
    assert record_run(engine, new, is_sent=is_sent)
    return new.id


def claim(engine: Engine, run_id: uuid.UUID, owner: str = "me", lease_s: float = 30) -> Claim | None:
    return claim_run(engine, run_id, owner=owner, lease_s=lease_s, path="worker")


def must_claim(engine: Engine, run_id: uuid.UUID, owner: str = "me", lease_s: float = 30) -> Claim:
    claimed = claim(engine, run_id, owner, lease_s)
    assert claimed is not None
    return claimed


def lose_lease(engine: Engine, run_id: uuid.UUID) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE k9ops.run SET lease_expires_at = now() - interval '1 s' WHERE id = :id"), {"id": run_id}
        )


def rescue(engine: Engine) -> list[Run]:
    return rescue_lost_runs(engine, find_lost_claims(engine, lease_s=0), lease_s=0)


def test_record_run_keeps_what_was_asked_for(engine: Engine) -> None:
    run_id = record(engine, params={"backup_id": "نسخة"}, requested_by="أحمد", trigger="cli")
    run = get_run(engine, run_id)
    assert (run.state, run.params, run.requested_by, run.trigger) == ("queued", {"backup_id": "نسخة"}, "أحمد", "cli")
    assert (run.attempt, run.sends) == (0, 1)


def test_record_run_refuses_a_second_run_of_a_slot(engine: Engine) -> None:
    first = record(engine, slot=SLOT)
    second = NewRun(job="create_backup", queue="backups", slot=SLOT)
    assert not record_run(engine, second, is_sent=True)
    assert find_recorded_id(engine, second) == first
    assert record_run(engine, NewRun(job="lock_schedules", queue="schedules", slot=SLOT), is_sent=True)


def test_record_run_gives_a_slot_to_one_of_many_callers(engine: Engine) -> None:
    def ask(_: int) -> bool:
        return record_run(engine, NewRun(job="create_backup", queue="backups", slot=SLOT), is_sent=True)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(24))) == 1


def test_insert_run_vanishes_when_the_caller_rolls_back(engine: Engine) -> None:
    new = NewRun(job="create_backup", queue="backups")
    with engine.connect() as connection:
        insert_run(connection, new, is_sent=False)
        connection.rollback()
    with pytest.raises(RunNotFound):
        get_run(engine, new.id)


def test_claim_run_is_given_to_one_of_many_workers(engine: Engine) -> None:
    run_id = record(engine)
    barrier = threading.Barrier(8)

    def compete(number: int) -> bool:
        barrier.wait()
        return claim(engine, run_id, owner=f"worker-{number}") is not None

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(compete, range(8))) == 1
    assert get_run(engine, run_id).attempt == 1


def test_claim_run_refuses_a_run_that_has_ended(engine: Engine) -> None:
    run_id = record(engine)
    assert finish_run(engine, must_claim(engine, run_id), state="succeeded", message="Done.", evidence={"rows": 1})
    assert claim(engine, run_id) is None
    run = get_run(engine, run_id)
    assert (run.state, run.evidence, run.lease_owner) == ("succeeded", {"rows": 1}, None)


def test_claim_run_leaves_a_run_that_is_not_due_to_the_relay(engine: Engine) -> None:
    run_id = record(engine, due_at=datetime.now(UTC) + timedelta(hours=1))
    assert claim(engine, run_id) is None
    assert get_run(engine, run_id).sent_at is None


def test_claim_run_refuses_a_run_that_has_expired(engine: Engine) -> None:
    run_id = record(engine, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert claim(engine, run_id) is None
    assert [run.id for run in expire_late_runs(engine)] == [run_id]
    assert get_run(engine, run_id).state == "expired"
    assert expire_late_runs(engine) == []


def test_finish_run_writes_nothing_when_the_lease_was_lost(engine: Engine) -> None:
    run_id = record(engine)
    stale = must_claim(engine, run_id, "stopped")
    lose_lease(engine, run_id)
    rescue(engine)
    fresh = must_claim(engine, run_id, "fresh")
    follow_up = NewRun(job="verify_backup", queue="backups", parent_id=run_id)
    assert not finish_run(
        engine, stale, state="succeeded", message="Late.", evidence={"rows": 1}, follow_ups=[follow_up]
    )
    assert not retry_run(engine, stale, delay_s=0, outcome="x", message="x", error_class="x", traceback=None)
    assert not put_back_run(engine, stale, message="x")
    assert get_run(engine, run_id).lease_owner == fresh.owner
    assert list_runs(engine, job="verify_backup") == []


def test_finish_run_records_its_follow_ups_once(engine: Engine) -> None:
    run_id = record(engine)
    follow_up = NewRun(job="verify_backup", queue="backups", parent_id=run_id)
    claimed = must_claim(engine, run_id)
    assert finish_run(engine, claimed, state="partial", message="Half.", evidence={"n": 1}, follow_ups=[follow_up])
    request_retry(engine, run_id, requested_by="test")
    claimed = must_claim(engine, run_id)
    assert finish_run(engine, claimed, state="succeeded", message="All.", evidence={"n": 2}, follow_ups=[follow_up])
    assert [run.id for run in list_runs(engine, parent_id=run_id)] == [follow_up.id]


def test_retry_run_waits_in_the_ledger_until_it_is_due(engine: Engine) -> None:
    run_id = record(engine)
    assert retry_run(
        engine,
        must_claim(engine, run_id),
        delay_s=600,
        outcome="retrying",
        message="Away.",
        error_class="X",
        traceback=None,
    )
    assert take_unsent_runs(engine, resend_after_s=60) == []
    with engine.begin() as connection:
        connection.execute(text("UPDATE k9ops.run SET due_at = now()"))
    assert [run.id for run in take_unsent_runs(engine, resend_after_s=60)] == [run_id]
    run = get_run(engine, run_id)
    assert [(item["attempt"], item["outcome"]) for item in run.history] == [(1, "retrying")]


def test_put_back_run_does_not_count_the_attempt(engine: Engine) -> None:
    run_id = record(engine)
    assert put_back_run(engine, must_claim(engine, run_id), message="Shutdown.")
    assert [run.id for run in take_unsent_runs(engine, resend_after_s=60)] == [run_id]
    assert must_claim(engine, run_id).run.attempt == 1


def test_renew_leases_keeps_progress_and_tells_of_cancellation_and_loss(engine: Engine) -> None:
    held, cancelled, lost = (must_claim(engine, record(engine), lease_s=1) for _ in range(3))
    request_cancel(engine, cancelled.run.id, requested_by="test")
    lose_lease(engine, lost.run.id)
    rescue(engine)
    renewed = renew_leases(
        engine,
        [(held, {"done": 1, "total": 2, "unit": "bytes"}), (cancelled, None), (lost, None)],
        lease_s=60,
    )
    assert renewed == {held.owner: False, cancelled.owner: True}
    run = get_run(engine, held.run.id)
    assert run.progress == {"done": 1, "total": 2, "unit": "bytes"}
    assert run.lease_expires_at is not None
    assert run.lease_expires_at > datetime.now(UTC) + timedelta(seconds=30)


def test_rescue_lost_runs_puts_a_run_back_and_gives_up_after_three_deaths(engine: Engine) -> None:
    run_id = record(engine)
    for death in range(1, MAX_DEATHS + 1):
        must_claim(engine, run_id, f"worker-{death}")
        assert rescue(engine) == []
        lose_lease(engine, run_id)
        (rescued,) = rescue(engine)
        assert rescued.deaths == death
    assert (rescued.state, rescued.error_class) == ("failed", "poison")
    assert [item["worker"].partition("/")[0] for item in rescued.history] == ["worker-1", "worker-2", "worker-3"]


def test_rescue_lost_runs_ends_a_run_whose_cancellation_was_asked_for(engine: Engine) -> None:
    run_id = record(engine)
    must_claim(engine, run_id)
    request_cancel(engine, run_id, requested_by="Sara")
    lose_lease(engine, run_id)
    rescue(engine)
    assert get_run(engine, run_id).state == "cancelled"


def test_take_unsent_runs_gives_each_run_to_one_caller(engine: Engine) -> None:
    ids = {record(engine, is_sent=False) for _ in range(40)}
    with ThreadPoolExecutor(4) as pool:
        taken = [
            run.id
            for runs in pool.map(lambda _: take_unsent_runs(engine, resend_after_s=60, limit=15), range(4))
            for run in runs
        ]
    assert len(taken) == len(set(taken))
    assert set(taken) <= ids


def test_take_unsent_runs_sends_a_lost_message_again_later_each_time(engine: Engine) -> None:
    run_id = record(engine)

    def age(seconds: int) -> list[uuid.UUID]:
        with engine.begin() as connection:
            connection.execute(text("UPDATE k9ops.run SET sent_at = now() - make_interval(secs => :s)"), {"s": seconds})
        return [run.id for run in take_unsent_runs(engine, resend_after_s=60)]

    assert age(59) == []
    assert age(61) == [run_id]
    assert age(61) == []
    assert age(121) == [run_id]


def test_take_unsent_runs_waits_longer_when_messages_wait_in_the_queue(engine: Engine) -> None:
    run_id = record(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE k9ops.run SET sent_at = now() - interval '5 min'"))
    assert take_unsent_runs(engine, resend_after_s=60, backlogged=["backups"]) == []
    mark_unsent(engine, [run_id])
    assert [run.id for run in take_unsent_runs(engine, resend_after_s=60, backlogged=["backups"])] == [run_id]


def test_request_cancel_ends_a_waiting_run_and_asks_a_running_one(engine: Engine) -> None:
    waiting, running = record(engine), record(engine)
    claimed = must_claim(engine, running)
    assert request_cancel(engine, waiting, requested_by="Sara").state == "cancelled"
    assert request_cancel(engine, running, requested_by="Sara").state == "running"
    assert retry_run(engine, claimed, delay_s=5, outcome="retrying", message="x", error_class="x", traceback=None)
    assert get_run(engine, running).state == "cancelled"
    with pytest.raises(RunStateConflict, match="it cannot be cancelled"):
        request_cancel(engine, waiting, requested_by="Sara")


def test_request_retry_starts_again_and_keeps_the_history(engine: Engine) -> None:
    run_id = record(engine)
    with pytest.raises(RunStateConflict, match="is queued: it cannot be retried"):
        request_retry(engine, run_id, requested_by="Sara")
    assert finish_run(engine, must_claim(engine, run_id), state="failed", message="No.", error_class="X")
    run = request_retry(engine, run_id, requested_by="Sara")
    assert (run.state, run.attempt, run.sent_at, run.message) == ("queued", 0, None, None)
    assert [(item["outcome"], item["retried_by"]) for item in run.history] == [("failed", "Sara")]


def test_find_run_takes_the_start_of_an_id(engine: Engine) -> None:
    run_id = record(engine)
    assert find_run(engine, str(run_id)[:8]).id == run_id
    for wrong in ("", "zz", "%", str(uuid.uuid4())):
        with pytest.raises(RunNotFound):
            find_run(engine, wrong)


def test_list_runs_filters_newest_first(engine: Engine) -> None:
    first, second = record(engine), record(engine)
    request_cancel(engine, first, requested_by="x")
    assert {run.id for run in list_runs(engine)} == {first, second}
    assert [run.id for run in list_runs(engine, states=["queued"])] == [second]
    assert list_runs(engine, job="other") == []
    assert list_runs(engine, since=datetime.now(UTC) + timedelta(hours=1)) == []
    assert len(list_runs(engine, limit=1)) == 1


def test_finish_run_refuses_an_earlier_claim_of_the_same_attempt(engine: Engine) -> None:
    run_id = record(engine)
    zombie = must_claim(engine, run_id)
    lose_lease(engine, run_id)
    rescue(engine)
    request_cancel(engine, run_id, requested_by="test")
    request_retry(engine, run_id, requested_by="test")
    fresh = must_claim(engine, run_id)
    assert zombie.run.attempt == fresh.run.attempt == 1
    assert not finish_run(engine, zombie, state="succeeded", message="Late.", evidence={"n": 1})
    assert finish_run(engine, fresh, state="succeeded", message="Done.", evidence={"path": "C:\\u0000dir"})
    assert get_run(engine, run_id).evidence == {"path": "C:\\u0000dir"}
