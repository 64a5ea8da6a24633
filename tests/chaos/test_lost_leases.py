"""Workers that are stopped, cut off or killed: others take their runs within seconds, and nobody writes for two."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from tests.chaos.leasing import WORKER, ask, read
from tests.chaos.proxy import Proxy
from tests.processes import wait_for, worker_process

from k9ops.ledger.model import NewRun
from k9ops.ledger.requests import get_run


@pytest.fixture
def environment(database_url: str, redis_url: str) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "K9OPS_RELAY_INTERVAL_S": "0.1",
        "K9OPS_LEASE_S": "3",
        "K9OPS_CONNECT_TIMEOUT_S": "1",
        "K9OPS_LOG_FORMAT": "json",
    }


def test_worker_that_was_stopped_past_its_lease_writes_nothing(
    engine: Engine, environment: dict[str, str], tmp_path: Path
) -> None:
    asked = ask(engine, "write_when_told", folder=str(tmp_path))
    log = tmp_path / "stopped.log"
    with worker_process(WORKER, environment, log=log) as stopped:
        wait_for((tmp_path / "begun").exists)
        os.killpg(stopped.pid, signal.SIGSTOP)
        try:
            with worker_process(WORKER, environment):
                wait_for(lambda: len(read(tmp_path / "begun")) == 2)
                (tmp_path / "go").touch()
                wait_for(lambda: get_run(engine, asked.id).is_final)
        finally:
            os.killpg(stopped.pid, signal.SIGCONT)
        wait_for(lambda: '"run.lease_lost"' in log.read_text())
    run = get_run(engine, asked.id)
    assert (run.state, run.attempt, run.deaths) == ("succeeded", 2, 1)
    assert run.evidence is not None
    assert read(tmp_path / "written") == [run.evidence["owner"]] == read(tmp_path / "begun")[1:]


def test_worker_that_is_cut_off_waits_at_its_check_until_it_knows_who_holds_the_run(
    engine: Engine, environment: dict[str, str], database_url: str, tmp_path: Path
) -> None:
    asked = ask(engine, "write_when_told", folder=str(tmp_path))
    log = tmp_path / "cut.log"
    with worker_cut_off(environment, database_url, tmp_path, log=log) as (_, proxy):
        with worker_process(WORKER, environment):
            wait_for(lambda: len(read(tmp_path / "begun")) == 2)
            (tmp_path / "go").touch()
            wait_for(lambda: get_run(engine, asked.id).is_final)
        proxy.is_refusing = False
        wait_for(lambda: '"run.lease_lost"' in log.read_text())
    run = get_run(engine, asked.id)
    assert (run.state, run.attempt, run.deaths) == ("succeeded", 2, 1)
    assert run.evidence is not None
    assert read(tmp_path / "written") == [run.evidence["owner"]]


def test_worker_that_is_cut_off_alone_goes_on_with_its_run_when_it_is_back(
    engine: Engine, environment: dict[str, str], database_url: str, tmp_path: Path
) -> None:
    asked = ask(engine, "write_when_told", folder=str(tmp_path))
    log = tmp_path / "cut.log"
    with worker_cut_off(environment, database_url, tmp_path, log=log) as (worker, proxy):
        wait_for(lambda: '"ledger.unreachable"' in log.read_text())
        wait_for(lambda: has_expired(engine, asked))
        (tmp_path / "go").touch()
        assert worker.poll() is None
        proxy.is_refusing = False
        wait_for(lambda: get_run(engine, asked.id).is_final)
    run = get_run(engine, asked.id)
    assert (run.state, run.attempt, run.deaths) == ("succeeded", 1, 0)


@contextmanager
def worker_cut_off(
    environment: dict[str, str], database_url: str, tmp_path: Path, *, log: Path
) -> Iterator[tuple[subprocess.Popen[bytes], Proxy]]:
    """Give a worker that has begun a run and reaches PostgreSQL no more, until the proxy refuses no longer."""
    port = int(database_url.rpartition(":")[2].partition("/")[0])
    with Proxy(port) as proxy:
        variables = {**environment, "DATABASE_URL": database_url.replace(f":{port}/", f":{proxy.port}/")}
        with worker_process(WORKER, variables, log=log) as worker:
            wait_for((tmp_path / "begun").exists)
            proxy.is_refusing = True
            proxy.cut()
            yield worker, proxy


def has_expired(engine: Engine, asked: NewRun) -> bool:
    with engine.begin() as connection:
        query = "SELECT lease_expires_at < now() FROM k9ops.run WHERE id = :id"
        return bool(connection.execute(text(query), {"id": asked.id}).scalar_one())


def test_claim_whose_reply_is_lost_is_the_workers_all_the_same(
    engine: Engine, environment: dict[str, str], database_url: str, tmp_path: Path
) -> None:
    port = int(database_url.rpartition(":")[2].partition("/")[0])
    with Proxy(port) as proxy:
        variables = {**environment, "DATABASE_URL": database_url.replace(f":{port}/", f":{proxy.port}/")}
        (tmp_path / "go").touch()
        proxy.lose_replies(b'"lease_s"', 1)
        with worker_process(WORKER, variables):
            asked = ask(engine, "write_when_told", folder=str(tmp_path))
            wait_for(lambda: get_run(engine, asked.id).is_final)
    assert proxy.lost_replies == 1
    run = get_run(engine, asked.id)
    assert (run.state, run.attempt, run.deaths) == ("succeeded", 1, 0)
    assert len(read(tmp_path / "written")) == 1
