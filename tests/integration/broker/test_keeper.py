from __future__ import annotations

from sqlalchemy import Engine
from tests.processes import wait_for

from k9ops.broker.build import K9opsRedisBroker
from k9ops.broker.keeper import Keeper
from k9ops.config.settings import get_settings
from k9ops.ledger.claims import claim_run
from k9ops.ledger.model import NewRun
from k9ops.ledger.requests import get_run, record_run


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
