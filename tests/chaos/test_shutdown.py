"""A worker is asked to end in the middle of everything: nothing waits for a lease, and no attempt is charged."""

from __future__ import annotations

import signal
from pathlib import Path

from sqlalchemy import Engine
from tests.chaos.leasing import WORKER, ask, read, wait_for_end
from tests.processes import wait_for, worker_process

from k9ops.ledger.requests import get_run

WAITING = 20


def test_what_can_end_ends_and_the_rest_is_put_back_at_once_without_being_charged(
    engine: Engine, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    # No lease runs out and no message is sent again in time: only what the worker gives back can go on.
    environment = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "K9OPS_RELAY_INTERVAL_S": "0.1",
        "K9OPS_LEASE_S": "3600",
        "K9OPS_RESEND_AFTER_S": "3600",
    }
    folder = str(tmp_path)
    with worker_process(WORKER, environment, threads=2) as ending:
        interrupted = ask(engine, "stay_at_work", folder=folder, number=0)
        finished = ask(engine, "end_when_told", folder=folder)
        wait_for(lambda: read(tmp_path / "begun-0") and read(tmp_path / "begun"))
        waiting = [ask(engine, "pass_by", folder=folder) for _ in range(WAITING)]
        wait_for(lambda: all(get_run(engine, new.id).sent_at for new in waiting))
        ending.send_signal(signal.SIGTERM)
        with worker_process(WORKER, environment):
            wait_for(lambda: len(read(tmp_path / "begun-0")) == 2)
            (tmp_path / "told").touch()
            run = wait_for_end(engine, finished)
            (tmp_path / "go").touch()
            other = wait_for_end(engine, interrupted)
            passed = [wait_for_end(engine, new) for new in waiting]
        assert ending.wait() == 0
    assert (run.state, run.attempt, run.history) == ("succeeded", 1, [])
    assert (other.state, other.attempt, other.deaths) == ("succeeded", 1, 0)
    assert [item["outcome"] for item in other.history] == ["put_back"]
    assert {(item.state, item.attempt) for item in passed} == {("succeeded", 1)}
    assert len(read(tmp_path / "passed")) == WAITING
    assert len(read(tmp_path / "begun")) == 1
