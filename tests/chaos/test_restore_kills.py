"""`k9ops` killed at each point of a restore, swap and undo: the live name always leads to a whole database."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Engine
from tests.chaos.killing_restore import AFTER_THE_SWAP, AFTER_THE_UNDO, BEFORE_THE_SWAP, BEFORE_THE_UNDO
from tests.processes import DEADLINE_S, ROOT, wait_for

from k9ops.backups.catalogue import Backup, make_backup_id
from k9ops.backups.create import create_backup
from k9ops.backups.restore import open_maintenance_session, restore_backup
from k9ops.backups.sides import list_sides
from k9ops.backups.swap import swap_database, undo_swap
from k9ops.backups.tidying import tidy_databases
from k9ops.config.settings import Settings
from k9ops.errors import TransientError
from k9ops.outcome import Execution

OLD, NEW = 1000, 10


@pytest.fixture
def backup(engine: Engine, settings: Settings, database_url: str) -> Iterator[Backup]:
    """A backup of a database that has lost most of its rows since; what is left beside it is dropped at the end."""
    with psycopg.connect(database_url) as session:
        session.execute("CREATE TABLE public.dog AS SELECT n AS id FROM generate_series(1, 1000) n")
    backup_id = make_backup_id(datetime.now(UTC), uuid.uuid4())
    made = create_backup(settings, engine, backup_id=backup_id, execution=Execution())
    with psycopg.connect(database_url) as session:
        session.execute("DELETE FROM public.dog WHERE id > 10")
    yield made
    engine.dispose()
    base, _, live = database_url.rpartition("/")
    with psycopg.connect(f"{base}/postgres", autocommit=True) as session:
        for name in beside(settings, live):
            session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def beside(settings: Settings, live: str) -> list[str]:
    with open_maintenance_session(settings) as session:
        rows = session.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [live]).fetchall()
    return [name for (name,) in rows if name != live]


def scratch_databases(settings: Settings) -> list[str]:
    with open_maintenance_session(settings) as session:
        return [
            name
            for (name,) in session.execute(
                "SELECT datname FROM pg_database WHERE datname LIKE 'k9ops_scratch%'"
            ).fetchall()
        ]


def count_dogs(url: str) -> int:
    with psycopg.connect(url) as session:
        row = session.execute("SELECT count(*), to_regclass('k9ops.run') IS NOT NULL FROM public.dog").fetchone()
    assert row is not None
    assert row[1], "k9ops has lost its tables"
    return int(row[0])


def audited(url: str, action: str) -> int:
    with psycopg.connect(url) as session:
        row = session.execute("SELECT count(*) FROM k9ops.audit_event WHERE action = %s", [action]).fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def watched(url: str) -> Iterator[None]:
    """Look at the live database all the time: whoever gets in must find all of it."""
    stop, seen, failures = threading.Event(), set[int](), list[BaseException]()

    def look() -> None:
        while not stop.is_set():
            try:
                seen.add(count_dogs(url))
            except psycopg.OperationalError:
                continue
            except BaseException as exc:
                failures.append(exc)
                return

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert failures == []
    assert seen <= {OLD, NEW}


def kill(point: str, mark: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "tests.chaos.killing_restore", *arguments]
    environment = {**os.environ, "KILL_POINT": point, "KILL_MARK": str(mark)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == -signal.SIGKILL, f"it was not killed: {done.stdout}{done.stderr}"


def sweep(settings: Settings) -> None:
    """Do what the next retention does, until the server has noticed the death."""

    def is_swept() -> bool:
        with contextlib.suppress(TransientError):  # the lock of the dead is not free yet
            tidy_databases(settings, actor="test")
        return scratch_databases(settings) == []

    wait_for(is_swept)


@pytest.mark.parametrize("point", [*BEFORE_THE_SWAP, *AFTER_THE_SWAP])
def test_swap_is_complete_or_has_not_begun_when_it_is_killed(
    point: str, backup: Backup, settings: Settings, database_url: str, tmp_path: Path
) -> None:
    with watched(database_url):
        kill(point, tmp_path / "killed", "backup", "restore", backup.backup_id, "--swap", "--yes")
        wait_for(lambda: count_dogs(database_url))
    live = database_url.rpartition("/")[2]
    is_swapped = point in AFTER_THE_SWAP
    assert count_dogs(database_url) == (OLD if is_swapped else NEW)
    sweep(settings)
    assert count_dogs(database_url) == (OLD if is_swapped else NEW)
    assert audited(database_url, "start_restore") == 1
    with open_maintenance_session(settings) as session:
        sides = list_sides(session, live)
    assert {side.database for side in sides} == set(beside(settings, live)), "nothing without a mark"
    assert all(side.mark.until is not None for side in sides), "nothing that stays for ever"
    if not is_swapped:
        for side in sides:
            swap_database(settings, database=side.database, actor="omar", execution=Execution(), safety_backup_id=None)
            assert count_dogs(database_url) == OLD
            is_swapped = True
    assert audited(database_url, "swap") == int(is_swapped)
    if is_swapped:
        undo_swap(settings, database=None, actor="omar")
        assert count_dogs(database_url) == NEW
        assert (audited(database_url, "swap"), audited(database_url, "undo")) == (1, 1)


@pytest.mark.parametrize("point", [*BEFORE_THE_UNDO, *AFTER_THE_UNDO])
def test_undo_is_complete_or_has_not_begun_when_it_is_killed(
    point: str, backup: Backup, settings: Settings, database_url: str, tmp_path: Path
) -> None:
    name = f"{database_url.rpartition('/')[2]}_old"
    restore_backup(settings, backup, database=name, execution=Execution())
    swap_database(settings, database=name, actor="omar", execution=Execution(), safety_backup_id=None)
    with watched(database_url):
        kill(point, tmp_path / "killed", "backup", "undo", "--yes")
        wait_for(lambda: count_dogs(database_url))
    is_undone = point in AFTER_THE_UNDO
    assert count_dogs(database_url) == (NEW if is_undone else OLD)
    sweep(settings)
    assert (audited(database_url, "swap"), audited(database_url, "undo")) == (1, int(is_undone))
    undo_swap(settings, database=None, actor="omar")
    assert count_dogs(database_url) == (OLD if is_undone else NEW)
    assert (audited(database_url, "swap"), audited(database_url, "undo")) == (1, 1 + int(is_undone))
