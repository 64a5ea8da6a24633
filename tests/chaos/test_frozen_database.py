"""A PostgreSQL that stands still for longer than a lease, and then goes on: nobody is lost."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, make_url, text
from tests.chaos.leasing import WORKER, ask, read
from tests.processes import wait_for, worker_process

from k9ops.config.settings import Settings
from k9ops.db.engine import create_engine_for
from k9ops.db.migrate import upgrade
from k9ops.embedded.postgres import PostgresServer, wheel_bin_dir
from k9ops.ledger.requests import list_runs
from k9ops.process_tree import find_descendants

LEASE_S = 3
FROZEN_S = 5
RUNS = 4


@pytest.fixture
def server(server_folder: Path) -> Iterator[PostgresServer]:
    with PostgresServer(server_folder / "frozen", bin_dir=wheel_bin_dir(), options={"fsync": "off"}) as server:
        yield server


@pytest.fixture
def own_engine(server: PostgresServer) -> Iterator[Engine]:
    url = make_url(server.url).set(drivername="postgresql+psycopg")
    engine = create_engine_for(url, Settings(), application_name="test")
    upgrade(engine)
    yield engine
    engine.dispose()


def test_runs_stay_with_their_workers_when_postgresql_stood_still_for_longer_than_a_lease(
    server: PostgresServer, own_engine: Engine, redis_url: str, tmp_path: Path
) -> None:
    for number in range(RUNS):
        ask(own_engine, "stay_at_work", folder=str(tmp_path), number=number)
    environment = {
        "DATABASE_URL": server.url,
        "REDIS_URL": redis_url,
        "K9OPS_RELAY_INTERVAL_S": "0.1",
        "K9OPS_LEASE_S": str(LEASE_S),
        "K9OPS_CONNECT_TIMEOUT_S": "60",
    }
    with worker_process(WORKER, environment, threads=2), worker_process(WORKER, environment, threads=2):
        wait_for(lambda: all(read(tmp_path / f"begun-{number}") for number in range(RUNS)))
        for _ in range(2):
            with frozen(server):
                threading.Event().wait(FROZEN_S)
            wait_for(lambda: are_renewed(own_engine))
        (tmp_path / "go").touch()
        wait_for(lambda: all(run.is_final for run in list_runs(own_engine)))
    runs = list_runs(own_engine)
    assert {(run.state, run.attempt, run.deaths) for run in runs} == {("succeeded", 1, 0)}
    assert [len(read(tmp_path / f"begun-{number}")) for number in range(RUNS)] == [1] * RUNS


@contextmanager
def frozen(server: PostgresServer) -> Iterator[None]:
    """Let no process of the server run."""
    pids = [server.pid, *(process.pid for process in find_descendants(server.pid))]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def are_renewed(engine: Engine) -> bool:
    """Tell whether no lease has run out, and no run waits for another worker."""
    with engine.begin() as connection:
        late = connection.scalar(
            text("SELECT count(*) FROM k9ops.run WHERE state <> 'running' OR lease_expires_at < now()")
        )
    return late == 0
