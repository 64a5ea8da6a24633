import os
import subprocess
import sys

import psycopg
import pytest
from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import DBAPIError

from k9ops.db.engine import database_errors, get_engine, is_unavailable
from k9ops.errors import DatabaseUnavailable

from .conftest import Connect

FORKED = """
import gc, os, sys
from sqlalchemy import text
from k9ops.db.engine import dispose_engine, get_engine

WHO = text("SELECT pg_backend_pid(), current_setting('application_name')")
parent = get_engine()
with parent.connect() as connection:
    before = connection.execute(WHO).one()
child = os.fork()
if child == 0:
    try:
        assert get_engine() is not parent
        with get_engine().connect() as own:
            backend, name = own.execute(WHO).one()
        assert backend != before[0], "the child speaks over its parent's socket"
        assert name.endswith(f":{os.getpid()}"), name
        dispose_engine()
        del connection, parent
        gc.collect()
    except BaseException as exc:
        print(repr(exc), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert get_engine() is parent
with parent.connect() as connection:
    assert connection.execute(WHO).one() == before, "the child closed its parent's connection"
dispose_engine()
print("fine")
"""


def setting(engine: Engine, name: str) -> str:
    with engine.connect() as connection:
        return str(connection.execute(text(f"SHOW {name}")).scalar_one())


def test_session_has_the_limits_of_the_settings(any_url: str, connect: Connect) -> None:
    engine = connect(any_url, K9OPS_STATEMENT_TIMEOUT_S="7", K9OPS_LOCK_TIMEOUT_S="3")
    wanted = {
        "statement_timeout": "7s",
        "lock_timeout": "3s",
        "TimeZone": "UTC",
        "search_path": "public",
        "client_encoding": "UTF8",
        "application_name": "k9ops test:1",
    }
    assert {name: setting(engine, name) for name in wanted} == wanted


def test_session_has_no_limit_when_the_setting_is_0(database_url: str, connect: Connect) -> None:
    assert setting(connect(database_url, K9OPS_STATEMENT_TIMEOUT_S="0"), "statement_timeout") == "0"


def test_options_of_the_url_win_over_the_settings(database_url: str, connect: Connect) -> None:
    engine = connect(f"{database_url}?options=-c%20statement_timeout%3D9s%20-c%20work_mem%3D5MB&sslmode=prefer")
    assert setting(engine, "statement_timeout") == "9s"
    assert setting(engine, "work_mem") == "5MB"
    assert setting(engine, "lock_timeout") == "10s"


def test_engine_tries_the_next_host_when_the_first_is_away(database_url: str, connect: Connect) -> None:
    url = make_url(database_url)
    hosts = url.set(host=None, port=None, query={"host": ["127.0.0.1:1", f"{url.host}:{url.port}"]})
    assert setting(connect(hosts.render_as_string(hide_password=False)), "port") == str(url.port)


def test_slow_statement_is_ended_and_is_no_outage(database_url: str, connect: Connect) -> None:
    engine = connect(f"{database_url}?options=-c%20statement_timeout%3D20ms")
    with pytest.raises(DBAPIError) as caught, database_errors(), engine.connect() as connection:
        connection.execute(text("SELECT pg_sleep(20)"))
    assert isinstance(caught.value.orig, psycopg.errors.QueryCanceled)


def test_awaited_lock_is_given_up_and_is_no_outage(database_url: str, connect: Connect) -> None:
    engine = connect(f"{database_url}?options=-c%20lock_timeout%3D20ms")
    with engine.connect() as holder, engine.connect() as waiter:
        holder.execute(text("SELECT pg_advisory_lock(1)"))
        with pytest.raises(DBAPIError) as caught, database_errors():
            waiter.execute(text("SELECT pg_advisory_lock(1)"))
        assert isinstance(caught.value.orig, psycopg.errors.LockNotAvailable)


def test_refused_connection_is_an_outage(connect: Connect) -> None:
    engine = connect("postgresql://k9:s3cret@127.0.0.1:1/k9")
    with pytest.raises(DatabaseUnavailable, match="Connection refused") as caught, database_errors():
        engine.connect()
    assert "s3cret" not in f"{caught.value} {caught.value.detail}"


def test_ended_session_is_an_outage_and_the_next_one_works(any_engine: Engine) -> None:
    with any_engine.connect() as connection, any_engine.connect() as other:
        backend = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": backend})
        with pytest.raises(DatabaseUnavailable), database_errors():
            connection.execute(text("SELECT 1"))
    assert setting(any_engine, "TimeZone") == "UTC"


def test_pooled_session_is_replaced_when_the_server_ended_it(any_engine: Engine) -> None:
    with any_engine.connect() as idle, any_engine.connect() as other:
        backend = idle.execute(text("SELECT pg_backend_pid()")).scalar_one()
        idle.rollback()
        idle.close()
        other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": backend})
        assert setting(any_engine, "TimeZone") == "UTC"


def test_too_many_connections_are_an_outage(database_url: str, connect: Connect) -> None:
    admin, url = connect(database_url), make_url(database_url)
    with admin.begin() as connection:
        connection.execute(text("CREATE ROLE crowd LOGIN PASSWORD 'crowd' CONNECTION LIMIT 1"))
    try:
        crowd = connect(url.set(username="crowd", password="crowd").render_as_string(hide_password=False))
        with crowd.connect(), pytest.raises(DatabaseUnavailable, match="too many connections"), database_errors():
            crowd.connect()
        crowd.dispose()
    finally:
        with admin.begin() as connection:
            connection.execute(text("DROP ROLE crowd"))


def test_read_only_server_is_an_outage(any_url: str, connect: Connect) -> None:
    engine = connect(f"{any_url}?options=-c%20default_transaction_read_only%3Don")
    with pytest.raises(DBAPIError) as caught, engine.connect() as connection:
        connection.execute(text("CREATE TABLE anything ()"))
    assert is_unavailable(caught.value)


def test_forked_child_makes_its_own_engine_and_leaves_its_parents_alone(database_url: str) -> None:
    command = [sys.executable, "-W", "error", "-c", FORKED]
    environment = {**os.environ, "DATABASE_URL": database_url}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\n", "")


def test_get_engine_is_one_for_the_process(settings: object) -> None:
    assert get_engine() is get_engine()
