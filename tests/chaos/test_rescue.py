"""What was lost with a worker or with Redis runs again within seconds, and only that."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import redis
from sqlalchemy import Engine, text
from tests.chaos.leasing import WORKER, ask, read, wait_for_end
from tests.processes import wait_for, worker_process

from k9ops.broker.build import K9opsRedisBroker
from k9ops.broker.sending import build_message, send_messages
from k9ops.ledger.model import NewRun
from k9ops.ledger.requests import get_run, record_run

RESCUE_S = 15
BACKLOG = 100


@pytest.fixture
def environment(database_url: str, redis_url: str) -> dict[str, str]:
    """Only what a worker needs: the rest are the defaults."""
    defaults = dict.fromkeys(("K9OPS_LEASE_S", "K9OPS_RELAY_INTERVAL_S", "K9OPS_RESEND_AFTER_S"), "")
    return {**defaults, "DATABASE_URL": database_url, "REDIS_URL": redis_url, "K9OPS_WATCH_INTERVAL_S": "0"}


def get_lease(engine: Engine, new: NewRun) -> object:
    return get_run(engine, new.id).lease_expires_at


def count_ended(engine: Engine) -> int:
    with engine.begin() as connection:
        query = "SELECT count(*) FROM k9ops.run WHERE job = 'pass_by' AND state = 'succeeded'"
        return int(connection.execute(text(query)).scalar_one())


def test_runs_of_a_killed_worker_run_again_within_15_s_with_the_defaults_under_load_and_no_others(
    engine: Engine, environment: dict[str, str], tmp_path: Path
) -> None:
    folder = str(tmp_path)
    with worker_process(WORKER, environment, threads=2) as killed:
        lost = [ask(engine, "stay_at_work", folder=folder, number=number) for number in range(2)]
        wait_for(lambda: all((tmp_path / f"begun-{number}").exists() for number in range(2)))
        with worker_process(WORKER, environment, threads=6):
            kept = [ask(engine, "stay_at_work", folder=folder, number=number) for number in (2, 3)]
            wait_for(lambda: all((tmp_path / f"begun-{number}").exists() for number in (2, 3)))
            for _ in range(BACKLOG):
                ask(engine, "pass_by", folder=folder)
            lease = get_lease(engine, lost[0])
            wait_for(lambda: get_lease(engine, lost[0]) != lease)  # the longest that is left of a lease
            os.killpg(killed.pid, signal.SIGKILL)
            killed.wait()
            killed_s = time.monotonic()
            wait_for(lambda: all(len(read(tmp_path / f"begun-{number}")) == 2 for number in range(2)))
            taken_s = time.monotonic() - killed_s
            wait_for(lambda: count_ended(engine) == BACKLOG)
            (tmp_path / "go").touch()
            for new in [*lost, *kept]:
                wait_for_end(engine, new)
    print(f"running again after {taken_s:.1f} s")
    assert taken_s < RESCUE_S
    for new in lost:
        run = get_run(engine, new.id)
        assert (run.state, run.attempt, run.deaths) == ("succeeded", 2, 1)
    for number, new in enumerate(kept, start=2):
        run = get_run(engine, new.id)
        assert (run.state, run.attempt, run.deaths) == ("succeeded", 1, 0)
        assert len(read(tmp_path / f"begun-{number}")) == 1
    assert len(read(tmp_path / "passed")) == BACKLOG


def test_run_that_kills_its_worker_ends_after_three_deaths_and_takes_no_other_with_it(
    engine: Engine, environment: dict[str, str], tmp_path: Path
) -> None:
    variables = {**environment, "K9OPS_LEASE_S": "3", "K9OPS_RELAY_INTERVAL_S": "0.1"}
    neighbours = [ask(engine, "be_busy", folder=str(tmp_path)) for _ in range(3)]
    poison = ask(engine, "kill_worker", folder=str(tmp_path))
    for deaths in (1, 2, 3):
        with worker_process(WORKER, variables, threads=4) as worker:
            wait_for(lambda deaths=deaths: len(read(tmp_path / "killed")) == deaths)  # type: ignore[misc]
            wait_for(lambda worker=worker: has_ended(worker))  # type: ignore[misc]
        wait_for(lambda: not has_lease(engine))
    with worker_process(WORKER, variables):
        run = wait_for_end(engine, poison)
        others = [wait_for_end(engine, new) for new in neighbours]
    assert (run.state, run.error_class, run.deaths, run.attempt) == ("failed", "poison", 3, 3)
    assert len(read(tmp_path / "killed")) == 3
    assert [other.state for other in others] == ["succeeded"] * 3
    assert max(other.deaths for other in others) > 0


def has_lease(engine: Engine) -> bool:
    with engine.begin() as connection:
        query = "SELECT count(*) FROM k9ops.run WHERE lease_expires_at > now()"
        return bool(connection.execute(text(query)).scalar_one())


def has_ended(worker: subprocess.Popen[bytes]) -> bool:
    return worker.poll() is not None


def test_everything_that_waited_in_redis_comes_back_when_redis_is_emptied(
    engine: Engine, broker: K9opsRedisBroker, environment: dict[str, str], redis_url: str, tmp_path: Path
) -> None:
    broker.declare_queue("leases")
    asked = [NewRun(job="pass_by", queue="leases", params={"folder": str(tmp_path)}) for _ in range(BACKLOG)]
    for new in asked:
        record_run(engine, new, is_sent=True)
    send_messages(broker, [build_message(new.id, new.job, new.queue, dict(new.params)) for new in asked])
    assert broker.count_waiting("leases") == BACKLOG
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    with worker_process(WORKER, {**environment, "K9OPS_RESEND_AFTER_S": "1"}, threads=4):
        wait_for(lambda: count_ended(engine) == BACKLOG)
    assert len(read(tmp_path / "passed")) == BACKLOG
