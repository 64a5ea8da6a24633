from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from k9ops.ledger.claims import claim_run, finish_run
from k9ops.ledger.model import NewRun
from k9ops.ledger.requests import get_run, list_runs, record_run
from k9ops.ledger.steps import ClaimStep, EndStep, carry_out_steps


def record(engine: Engine) -> uuid.UUID:
    new = NewRun(job="create_backup", queue="backups")
    record_run(engine, new, is_sent=True)
    return new.id


def claiming(run_id: uuid.UUID, owner: str) -> ClaimStep:
    return ClaimStep(run_id, owner, 30.0, "worker")


def ending(run_id: uuid.UUID, owner: str, evidence: str | None = '{"n": 1}') -> EndStep:
    return EndStep(run_id, owner, "succeeded", "تم", evidence, None, None)


def test_steps_of_several_runs_are_carried_out_together(engine: Engine) -> None:
    first, second, third = (record(engine) for _ in range(3))
    claimed = carry_out_steps(engine, [claiming(first, "a"), claiming(second, "b"), claiming(uuid.uuid4(), "c")])
    assert [run and (run.id, run.state, run.attempt, run.lease_owner, run.path) for run in claimed] == [
        (first, "running", 1, "a", "worker"),
        (second, "running", 1, "b", "worker"),
        None,
    ]
    answers = carry_out_steps(
        engine, [ending(first, "a"), claiming(third, "c"), ending(second, "another"), claiming(second, "d")]
    )
    assert [answers[0], answers[1].id, *answers[2:]] == [True, third, False, None]
    ended = get_run(engine, first)
    assert (ended.state, ended.message, ended.evidence, ended.lease_owner) == ("succeeded", "تم", {"n": 1}, None)
    assert get_run(engine, second).lease_owner == "b"


def test_run_is_claimed_once_by_copies_of_its_message(engine: Engine) -> None:
    run_id = record(engine)
    answers = carry_out_steps(engine, [claiming(run_id, "a"), claiming(run_id, "b")])
    (run,) = [run for run in answers if run]
    assert run.lease_owner == get_run(engine, run_id).lease_owner
    assert run.attempt == 1


def test_of_two_claims_that_end_a_run_the_one_that_holds_it_does(engine: Engine) -> None:
    for owners in (["holder", "stale"], ["stale", "holder"]):
        run_id = record(engine)
        carry_out_steps(engine, [claiming(run_id, "holder")])
        answers = carry_out_steps(engine, [ending(run_id, owner) for owner in owners])
        assert dict(zip(owners, answers, strict=True)) == {"holder": True, "stale": False}
        assert get_run(engine, run_id).state == "succeeded"


def test_steps_are_carried_out_all_or_none(engine: Engine) -> None:
    first, second = record(engine), record(engine)
    carry_out_steps(engine, [claiming(first, "a")])
    with pytest.raises(DBAPIError):
        carry_out_steps(engine, [replace(ending(first, "a"), evidence="no JSON"), claiming(second, "b")])
    assert [run.state for run in list_runs(engine)] == ["queued", "running"]


def test_end_without_evidence_has_none(engine: Engine) -> None:
    run_id = record(engine)
    carry_out_steps(engine, [claiming(run_id, "a")])
    assert carry_out_steps(engine, [replace(ending(run_id, "a", None), state="failed")]) == [True]
    with engine.begin() as connection:
        assert connection.scalar(text("SELECT evidence IS NULL FROM k9ops.run"))


def test_many_threads_claim_and_end_each_run_once(engine: Engine) -> None:
    run_ids = [record(engine) for _ in range(200)]

    def work(run_id: uuid.UUID) -> bool:
        claim = claim_run(engine, run_id, owner="me", lease_s=30, path="worker")
        return claim is not None and finish_run(
            engine, claim, state="succeeded", message=str(run_id), evidence={"n": 1}, is_audited=False
        )

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, [*run_ids, *run_ids])) == 200
    runs = list_runs(engine, limit=500)
    assert {(run.state, run.attempt, run.message == str(run.id)) for run in runs} == {("succeeded", 1, True)}
