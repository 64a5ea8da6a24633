import psycopg
import pytest
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from k9ops.config.settings import load_settings, to_sqlalchemy_url
from k9ops.db.engine import create_engine_for, database_errors, describe_process, is_unavailable
from k9ops.errors import DatabaseUnavailable


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["/usr/bin/k9ops", "backup", "create"], "k9ops backup:7"),
        (["/usr/bin/k9ops", "--json", "check"], "k9ops check:7"),
        (["/usr/bin/k9ops"], "k9ops cli:7"),
        (["/venv/bin/dramatiq", "k9ops.actors"], "k9ops dramatiq:7"),
        (["/venv/lib/dramatiq/__main__.py"], "k9ops dramatiq:7"),
        ([""], "k9ops python:7"),
    ],
)
def test_describe_process_names_command_and_pid(argv: list[str], name: str) -> None:
    assert describe_process(argv, 7) == name


def test_describe_process_keeps_the_pid_when_the_command_is_long() -> None:
    name = describe_process(["/usr/bin/" + "ب" * 60], 4_194_304)
    assert len(name.encode()) <= 63
    assert name.endswith(":4194304")


@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError("connection refused"),
        psycopg.errors.AdminShutdown(),
        psycopg.errors.CrashShutdown(),
        psycopg.errors.CannotConnectNow(),
        psycopg.errors.TooManyConnections(),
        psycopg.errors.ConnectionFailure(),
        psycopg.errors.ReadOnlySqlTransaction(),
        psycopg.errors.DiskFull(),
        PoolTimeout(),
        DatabaseUnavailable("away"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_is_unavailable_is_true_when_the_server_takes_no_work(error: Exception) -> None:
    assert is_unavailable(error)
    if isinstance(error, psycopg.Error):
        assert is_unavailable(OperationalError("SELECT 1", {}, error))


@pytest.mark.parametrize(
    "error",
    [
        psycopg.errors.QueryCanceled(),
        psycopg.errors.LockNotAvailable(),
        psycopg.errors.DeadlockDetected(),
        psycopg.errors.UniqueViolation(),
        psycopg.errors.UndefinedTable(),
        psycopg.ProgrammingError("no such option"),
        ConnectionRefusedError(),
        ValueError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_is_unavailable_is_false_when_the_statement_is_at_fault(error: Exception) -> None:
    assert not is_unavailable(error)
    if isinstance(error, psycopg.Error):
        assert not is_unavailable(OperationalError("SELECT 1", {}, error))


def test_is_unavailable_is_true_when_sqlalchemy_gave_the_connection_up() -> None:
    assert is_unavailable(DBAPIError("SELECT 1", {}, psycopg.InterfaceError(), connection_invalidated=True))


def test_database_errors_keeps_hosts_and_hints_from_the_user_message() -> None:
    words = (
        'connection failed: connection to server at "10.1.2.3", port 5432 failed: FATAL:  the database system'
        " is starting up\n\tIs it so?"
    )
    with pytest.raises(DatabaseUnavailable) as caught, database_errors():
        raise OperationalError("SELECT 1", {}, psycopg.OperationalError(words))
    assert caught.value.user_message == "PostgreSQL is not available: FATAL: the database system is starting up."
    assert caught.value.detail == {"reason": words}
    assert isinstance(caught.value.__cause__, OperationalError)


def test_database_errors_lets_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), database_errors():
        raise ZeroDivisionError
    with pytest.raises(psycopg.errors.UniqueViolation), database_errors():
        raise psycopg.errors.UniqueViolation


def test_create_engine_for_does_not_connect() -> None:
    url = to_sqlalchemy_url("postgresql://nobody@127.0.0.1:1/none")
    engine = create_engine_for(url, load_settings({}).settings, application_name="x")
    assert engine.pool.checkedin() == 0
