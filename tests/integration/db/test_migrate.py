import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, make_url, text

from k9ops.db import migrate
from k9ops.db.own_tables import metadata
from k9ops.errors import DatabaseInvalid, TransientError

from .conftest import Connect

UPGRADE = """
from k9ops.db.engine import dispose_engine, get_engine
from k9ops.db.migrate import upgrade

print(upgrade(get_engine()))
dispose_engine()
"""
PUBLIC = """
    SELECT c.relname, c.relkind, c.relfilenode, c.xmin::text FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace ORDER BY 1
"""
OWN = {
    "columns": "SELECT attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid)"
    " FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum"
    " WHERE attrelid = 'k9ops.run'::regclass AND attnum > 0 ORDER BY attnum",
    "constraints": "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE conrelid = 'k9ops.run'::regclass ORDER BY 1",
    "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'k9ops' AND tablename = 'run' ORDER BY 1",
}


def rows(connection: Connection, statement: str) -> list[Any]:
    return list(connection.execute(text(statement)).all())


@contextmanager
def upgrade_lock(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": migrate._LOCK_KEY})
        connection.commit()
        yield connection
        connection.execute(text("SELECT pg_advisory_unlock_all()"))


def wait_until(connection: Connection, statement: str, *, deadline_s: float = 30) -> None:
    until = time.monotonic() + deadline_s
    while not connection.execute(text(statement)).scalar_one():
        connection.commit()
        assert time.monotonic() < until, statement
        Event().wait(0.02)


def test_upgrade_reaches_head_and_can_be_repeated(any_engine: Engine) -> None:
    assert migrate.check(any_engine) == (None, migrate.head())
    assert migrate.upgrade(any_engine) == migrate.head()
    assert migrate.upgrade(any_engine) == migrate.head()
    assert migrate.check(any_engine) == (migrate.head(), migrate.head())


def test_upgrade_makes_what_the_metadata_says(any_engine: Engine) -> None:
    migrate.upgrade(any_engine)
    with any_engine.connect() as connection:
        options = {"include_schemas": True, "version_table_schema": "k9ops", "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
        migrated = {name: rows(connection, statement) for name, statement in OWN.items()}
    with any_engine.begin() as connection:
        connection.execute(text("DROP SCHEMA k9ops CASCADE"))
        connection.execute(text("CREATE SCHEMA k9ops"))
        metadata.create_all(connection)
        assert {name: rows(connection, statement) for name, statement in OWN.items()} == migrated


def test_upgrade_leaves_public_alone(any_engine: Engine) -> None:
    with any_engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('c0ffee')"))
        before = rows(connection, PUBLIC)
    migrate.upgrade(any_engine)
    with any_engine.connect() as connection:
        assert rows(connection, PUBLIC) == before
        assert rows(connection, "SELECT version_num FROM public.alembic_version") == [("c0ffee",)]


def test_upgrade_runs_once_when_two_processes_start_it(any_url: str, any_engine: Engine) -> None:
    command = [sys.executable, "-W", "error", "-c", UPGRADE]
    with upgrade_lock(any_engine) as holder:
        started = [
            subprocess.Popen(
                command,
                env={**os.environ, "DATABASE_URL": any_url},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        waiting = "SELECT count(*) = 2 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        wait_until(holder, waiting)
        assert rows(holder, "SELECT to_regnamespace('k9ops')") == [(None,)]
    ended = [(*process.communicate(timeout=60), process.returncode) for process in started]
    assert ended == [(f"{migrate.head()}\n", "", 0)] * 2
    assert migrate.current(any_engine) == migrate.head()


def test_upgrade_gives_up_when_another_holds_the_lock_too_long(any_engine: Engine) -> None:
    with (
        upgrade_lock(any_engine),
        pytest.raises(TransientError, match=r"Another process has been upgrading .* for over 1 s"),
    ):
        migrate.upgrade(any_engine, lock_wait_s=1)
    assert migrate.upgrade(any_engine, lock_wait_s=1) == migrate.head()


def test_upgrade_leaves_no_lock_and_no_setting_behind(any_engine: Engine) -> None:
    migrate.upgrade(any_engine)
    with any_engine.connect() as connection:
        assert rows(connection, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory'") == []
        assert rows(connection, "SHOW lock_timeout") == [("10s",)]
        assert rows(connection, "SHOW statement_timeout") == [("1min",)]


def test_upgrade_says_so_when_the_tables_are_in_use(database_url: str, connect: Connect) -> None:
    engine = connect(database_url, K9OPS_LOCK_TIMEOUT_S="1")
    migrate.upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("LOCK TABLE k9ops.alembic_version IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(TransientError, match="in use"):
            migrate.upgrade(engine)


@pytest.fixture
def limited_engine(any_url: str, any_engine: Engine, connect: Connect) -> Iterator[Engine]:
    """A role that may connect and nothing more, with a name that needs quotes."""
    with any_engine.begin() as connection:
        connection.execute(text('CREATE ROLE "Ops ""1""" LOGIN PASSWORD \'ops\''))
    url = make_url(any_url).set(username='Ops "1"', password="ops")
    engine = connect(url.render_as_string(hide_password=False))
    yield engine
    engine.dispose()
    with any_engine.begin() as connection:
        connection.execute(text('DROP OWNED BY "Ops ""1""" CASCADE'))
        connection.execute(text('DROP ROLE "Ops ""1"""'))


def run_as_told(engine: Engine, error: DatabaseInvalid) -> None:
    with engine.begin() as connection:
        connection.execute(text(error.user_message.partition("run here: ")[2]))


def test_upgrade_names_the_sql_when_the_role_may_not_create_a_schema(
    any_engine: Engine, limited_engine: Engine
) -> None:
    with pytest.raises(DatabaseInvalid, match="CREATE SCHEMA k9ops AUTHORIZATION") as caught:
        migrate.upgrade(limited_engine)
    run_as_told(any_engine, caught.value)
    assert migrate.upgrade(limited_engine) == migrate.head()


def test_upgrade_names_the_sql_when_the_role_may_not_use_the_schema(any_engine: Engine, limited_engine: Engine) -> None:
    with any_engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA k9ops"))
    with pytest.raises(DatabaseInvalid, match="GRANT CREATE, USAGE ON SCHEMA k9ops TO") as caught:
        migrate.upgrade(limited_engine)
    run_as_told(any_engine, caught.value)
    assert migrate.upgrade(limited_engine) == migrate.head()


def test_upgrade_refuses_tables_of_a_newer_version(any_engine: Engine) -> None:
    migrate.upgrade(any_engine)
    with any_engine.begin() as connection:
        connection.execute(text("UPDATE k9ops.alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseInvalid, match="newer"):
        migrate.upgrade(any_engine)
    assert migrate.check(any_engine) == ("9999", migrate.head())


def test_upgrade_changes_nothing_when_it_fails_half_way(any_engine: Engine) -> None:
    with any_engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA k9ops"))
        connection.execute(text("CREATE TABLE k9ops.run ()"))
    with pytest.raises(Exception, match="already exists"):
        migrate.upgrade(any_engine)
    assert migrate.current(any_engine) is None
