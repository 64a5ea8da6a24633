"""Databases that are named, encoded or sorted unlike most, and what belongs to extensions."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql
from tests.integration.backups.conftest import Source, make_source

from k9ops.backups.restore import restore_backup
from k9ops.backups.verify import verify_backup
from k9ops.config.settings import Settings
from k9ops.outcome import Execution


@pytest.fixture(params=["database15_url", "database_url"], ids=["postgres15", "postgres18"])
def server_url(request: pytest.FixtureRequest) -> str:
    """A database on the oldest server, and again on the newest."""
    url: str = request.getfixturevalue(request.param)
    return url


@contextmanager
def database(server_url: str, settings: Settings, name: str, options: str = "") -> Iterator[Source]:
    """A database made with the options of CREATE DATABASE, dropped at the end of the block."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        statement = f"CREATE DATABASE {{}} TEMPLATE template0 {options}"
        connection.execute(sql.SQL(statement).format(sql.Identifier(name)))  # type: ignore[arg-type]
        try:
            yield make_source(f"{server_url.rpartition('/')[0]}/{name}", settings)
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def fill(server_url: str, name: str, *statements: str) -> None:
    with psycopg.connect(server_url, dbname=name, autocommit=True, client_encoding="utf8") as connection:
        for statement in statements:
            connection.execute(statement)  # type: ignore[call-overload]


def fresh(name: str) -> str:
    return f"{name}_{uuid.uuid4().hex[:8]}"


@pytest.mark.parametrize("prefix", ["host=evil 'كلب' \"K9\"", "back\\slash", "postgresql:", "--version"])
def test_backup_works_when_the_database_has_an_odd_name(
    server_url: str, source_settings: Settings, prefix: str
) -> None:
    name = fresh(prefix)
    with database(server_url, source_settings, name) as source:
        fill(server_url, name, "CREATE TABLE public.dog AS SELECT 1 AS id")
        backup = source.back_up()
        assert (backup.manifest.database, backup.manifest.tables) == (name, {"public.dog": 1})
        assert verify_backup(source.settings, backup, execution=Execution()).state == "verified"


@pytest.mark.parametrize(
    "options",
    ["ENCODING SQL_ASCII LC_COLLATE 'C' LC_CTYPE 'C'", "ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C'"],
    ids=["SQL_ASCII", "LATIN1"],
)
def test_backup_keeps_encoding_and_locale(server_url: str, source_settings: Settings, options: str) -> None:
    name, restored = fresh("odd"), fresh("restored")
    with database(server_url, source_settings, name, options) as source:
        text = "été" if "LATIN1" in options else "كلب"
        fill(server_url, name, f"CREATE TABLE public.\"{text}\" AS SELECT '{text}' AS word")
        backup = source.back_up()
        assert backup.manifest.tables == {f"public.{text}": 1}
        verification = verify_backup(source.settings, backup, execution=Execution())
        assert (verification.state, verification.reason) == ("verified", None)
        restore_backup(source.settings, backup, database=restored, execution=Execution())
        with psycopg.connect(server_url, autocommit=True) as connection:
            shapes = connection.execute(
                "SELECT to_jsonb(d) - '{oid,datname,datfrozenxid,datminmxid}'::text[] FROM pg_database d"
                " WHERE datname = ANY (%s)",
                [[name, restored]],
            ).fetchall()
            connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(restored)))
        assert shapes[0] == shapes[1]


def test_backup_keeps_the_locale_of_icu(database15_url: str, source_settings: Settings) -> None:
    with psycopg.connect(database15_url) as connection:
        if connection.execute("SELECT FROM pg_collation WHERE collprovider = 'i'").fetchone() is None:
            pytest.skip("this machine has no Debian PostgreSQL 15, and the wheels' servers have no ICU")
    options = "ENCODING UTF8 LC_COLLATE 'C' LC_CTYPE 'C.UTF-8' LOCALE_PROVIDER icu ICU_LOCALE 'ar-SA'"
    with database(database15_url, source_settings, fresh("icu"), options) as source:
        backup = source.back_up()
        assert (backup.manifest.shape.locale_provider, backup.manifest.shape.locale) == ("icu", "ar-SA")
        assert verify_backup(source.settings, backup, execution=Execution()).state == "verified"


def test_backup_keeps_the_builtin_locale_provider(database_url: str, source_settings: Settings) -> None:
    options = "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"
    with database(database_url, source_settings, fresh("builtin"), options) as source:
        backup = source.back_up()
        assert (backup.manifest.shape.locale_provider, backup.manifest.shape.locale) == ("builtin", "C.UTF-8")
        assert verify_backup(source.settings, backup, execution=Execution()).state == "verified"


def test_backup_holds_large_objects_sequences_and_comments(server_url: str, source_settings: Settings) -> None:
    name, restored = fresh("things"), fresh("restored")
    query = (
        "SELECT (SELECT last_value FROM public.ids), convert_from(lo_get(4711), 'UTF8'),"
        " obj_description('public.dog'::regclass), (SELECT count(*) FROM pg_policies)"
    )
    with database(server_url, source_settings, name) as source:
        fill(
            server_url,
            name,
            "CREATE SEQUENCE public.ids START 5; SELECT setval('public.ids', 99)",
            "SELECT lo_from_bytea(4711, convert_to('صورة', 'UTF8'))",
            "CREATE TABLE public.dog (id int); COMMENT ON TABLE public.dog IS 'كلب'",
            "ALTER TABLE public.dog ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON public.dog USING (id > 0)",
        )
        restore_backup(source.settings, source.back_up(), database=restored, execution=Execution())
        with psycopg.connect(server_url, autocommit=True) as connection:
            with psycopg.connect(server_url, dbname=restored) as copy:
                assert copy.execute(query).fetchall() == [(99, "صورة", "كلب", 1)]  # type: ignore[call-overload]
            connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(restored)))


def test_backup_does_not_count_the_tables_of_an_extension(server_url: str, source_settings: Settings) -> None:
    source = make_source(server_url, source_settings)
    source.run("CREATE TABLE public.dog (id int); CREATE TABLE public.brought (id int)")
    source.run("INSERT INTO public.brought VALUES (1); ALTER EXTENSION plpgsql ADD TABLE public.brought")
    backup = source.back_up()
    assert backup.manifest.tables == {"public.dog": 0}
    assert verify_backup(source.settings, backup, execution=Execution()).state == "verified"
