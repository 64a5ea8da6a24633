from __future__ import annotations

import threading
import uuid

import pytest
from sqlalchemy import Engine
from tests.processes import DEADLINE_S, wait_for

from k9ops.broker.build import K9opsRedisBroker
from k9ops.broker.keeper import Keeper
from k9ops.broker.rescuing import Rescuer
from k9ops.config.settings import get_settings
from k9ops.ledger.claims import Claim, claim_run, renew_leases
from k9ops.ledger.execution import ActiveRun
from k9ops.ledger.model import NewRun
from k9ops.ledger.requests import get_run, record_run
from k9ops.ledger.rescue import find_lost_claims, rescue_lost_runs


def claim(engine: Engine, *, lease_s: float, run_id: uuid.UUID | None = None) -> Claim:
    if run_id is None:
        new = NewRun(job="probe", queue="tests")
        record_run(engine, new, is_sent=True)
        run_id = new.id
    claimed = claim_run(engine, run_id, owner="worker", lease_s=lease_s, path="worker")
    assert claimed is not None
    return claimed


def test_claim_is_lost_when_it_is_found_twice_and_its_holder_could_have_renewed_it(engine: Engine) -> None:
    frozen, dead = claim(engine, lease_s=0), claim(engine, lease_s=0)
    rescuer = Rescuer(engine, get_settings())
    assert rescuer.look() == []  # as after a server that was frozen for longer than a lease
    assert renew_leases(engine, [(frozen, None)], lease_s=60) == {frozen.owner: False}
    assert [run.id for run in wait_for(rescuer.look)] == [dead.run.id]
    assert get_run(engine, frozen.run.id).state == "running"


def test_rescue_leaves_a_run_that_was_renewed_since_it_was_found(engine: Engine) -> None:
    late = claim(engine, lease_s=0)
    found = find_lost_claims(engine, lease_s=0)
    assert found == [late.owner]
    renew_leases(engine, [(late, None)], lease_s=60)
    assert rescue_lost_runs(engine, found, lease_s=0) == []


def test_lost_claim_is_told_although_the_same_process_has_claimed_the_run_again(
    engine: Engine, broker: K9opsRedisBroker
) -> None:
    lost = claim(engine, lease_s=0)
    rescue_lost_runs(engine, [lost.owner], lease_s=0)
    again = claim(engine, lease_s=60, run_id=lost.run.id)
    keeper = Keeper(get_settings(), broker=None)
    first, second = (ActiveRun(each, soft_limit_s=None) for each in (lost, again))
    keeper.add(first)
    keeper.add(second)
    keeper.start()
    try:
        wait_for(lambda: first.stop_reason)
    finally:
        keeper.stop()
    assert (first.stop_reason, second.stop_reason) == ("lease_lost", None)


def test_leases_are_renewed_while_the_broker_hangs(
    engine: Engine, broker: K9opsRedisBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on, is_asked = threading.Event(), threading.Event()

    def hang() -> list[str]:
        is_asked.set()
        may_go_on.wait(DEADLINE_S)
        return []

    monkeypatch.setattr(broker, "find_backlogged", hang)
    held = claim(engine, lease_s=60)
    keeper = Keeper(get_settings(), broker=broker)
    keeper.start()
    try:
        assert is_asked.wait(DEADLINE_S)
        lease = get_run(engine, held.run.id).lease_expires_at
        keeper.add(ActiveRun(held, soft_limit_s=None))
        wait_for(lambda: get_run(engine, held.run.id).lease_expires_at != lease)
    finally:
        may_go_on.set()
        keeper.stop()


def test_keeper_rescues_lost_runs_although_it_cannot_report(engine: Engine, broker: K9opsRedisBroker) -> None:
    lost = NewRun(job="probe", queue="tests")
    record_run(engine, lost, is_sent=True)
    claim_run(engine, lost.id, owner="dead", lease_s=0.1, path="worker")

    def report() -> None:
        raise RuntimeError("permission denied for table process")

    keeper = Keeper(get_settings(), broker=broker, report=report)
    keeper.start()
    try:
        wait_for(lambda: get_run(engine, lost.id).state == "retrying")
    finally:
        keeper.stop()
