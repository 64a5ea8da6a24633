"""Restoring beside the live database, on real servers."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
import pytest
from tests.integration.backups.conftest import EXPECTED_ROWS, Source, make_source
from tests.integration.backups.test_create import replace_user
from tests.integration.backups.test_verify import rewrite_manifest, role

from k9ops.backups.catalogue import make_backup_id
from k9ops.backups.connections import open_session, target_of
from k9ops.backups.restore import open_maintenance_session, restore_backup
from k9ops.backups.restoring import compare_rows
from k9ops.backups.sides import list_sides
from k9ops.errors import BackupDamaged, DatabaseInvalid, ParamsInvalid, RunInterrupted, VerificationFailed
from k9ops.outcome import Execution

_DUMPABLE = """
    SELECT n.nspname, c.relname, c.relkind, pg_get_userbyid(c.relowner), c.relacl::text FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1, 2
"""


def database_of(source: Source) -> str:
    return source.url.rpartition("/")[2]


def beside(source: Source, database: str) -> Source:
    return make_source(f"{source.url.rpartition('/')[0]}/{database}", source.settings)


def read(source: Source, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(source.url) as connection:
        return connection.execute(query).fetchall()  # type: ignore[call-overload, no-any-return]


def new_name() -> str:
    return f"restored_{uuid.uuid4().hex[:8]}"


def fresh_id() -> str:
    return make_backup_id(datetime.now(UTC), uuid.uuid4())


def test_restore_backup_makes_the_same_database_beside(each_source: Source) -> None:
    each_source.run("GRANT SELECT ON notification TO pg_monitor")
    backup, name = each_source.back_up(), new_name()
    report = restore_backup(each_source.settings, backup, database=name, execution=Execution())
    copy = beside(each_source, name)
    try:
        assert (report.database, report.tables_compared) == (name, len(EXPECTED_ROWS))
        assert report.keeps_owners
        assert read(copy, _DUMPABLE) == read(each_source, _DUMPABLE)
        content = "SELECT md5(string_agg(t::text, '' ORDER BY id)) FROM notification t"
        assert read(copy, content) == read(each_source, content)
        assert read(copy, "SHOW server_encoding") == [("UTF8",)]
        assert copy.back_up().manifest.tables == EXPECTED_ROWS
    finally:
        each_source.run(f"DROP DATABASE {name}")


def test_restore_backup_refuses_a_name_that_is_taken_or_too_long(source: Source) -> None:
    backup = source.back_up()
    with pytest.raises(DatabaseInvalid, match="exists already"):
        restore_backup(source.settings, backup, database=database_of(source), execution=Execution())
    for name in ("", "ك" * 32):
        with pytest.raises(DatabaseInvalid, match="1 to 63 bytes"):
            restore_backup(source.settings, backup, database=name, execution=Execution())


def test_restore_backup_takes_a_name_in_arabic_with_quotes(source: Source, drop_later: Callable[[str], str]) -> None:
    name = drop_later('نسخة "جديدة" ' + uuid.uuid4().hex[:8])
    restore_backup(source.settings, source.back_up(), database=name, execution=Execution())
    assert name in source.databases()


def test_restore_backup_works_when_the_live_database_is_gone(source: Source, drop_later: Callable[[str], str]) -> None:
    backup, name = source.back_up(), drop_later(new_name())
    lost = make_source(f"{source.url.rpartition('/')[0]}/{new_name()}", source.settings)
    report = restore_backup(lost.settings, backup, database=name, execution=Execution())
    assert report.rows_compared == sum(EXPECTED_ROWS.values())
    again = restore_backup(lost.settings, backup, database=drop_later(database_of(lost)), execution=Execution())
    assert again.database == database_of(lost)
    assert read(lost, "SELECT count(*) FROM notification") == [(20000,)]
    with open_maintenance_session(lost.settings) as session:
        assert [side.database for side in list_sides(session, database_of(lost))] == [name], "the live one has no mark"


def test_restore_backup_leaves_nothing_when_the_archive_is_damaged(source: Source) -> None:
    backup, before = source.back_up(), source.databases()
    content = bytearray(backup.archive_path.read_bytes())
    content[100] ^= 1
    backup.archive_path.write_bytes(content)
    with pytest.raises(BackupDamaged, match="SHA-256"):
        restore_backup(source.settings, backup, database=new_name(), execution=Execution())
    assert source.databases() == before


def test_restore_backup_leaves_nothing_when_the_rows_differ(source: Source) -> None:
    backup, before = source.back_up(), source.databases()
    backup = rewrite_manifest(backup, tables={**EXPECTED_ROWS, "public.empty": 1})
    with pytest.raises(VerificationFailed, match=r"public\.empty has 0 instead of 1"):
        restore_backup(source.settings, backup, database=new_name(), execution=Execution())
    assert source.databases() == before


def test_restore_backup_leaves_nothing_when_it_must_stop(source: Source) -> None:
    backup, before = source.back_up(), source.databases()
    restoring = threading.Event()

    def stop_when_restoring() -> None:
        if restoring.is_set():
            raise RunInterrupted("A person cancelled it.", reason="cancelled")

    execution = Execution(check_stop=stop_when_restoring, report_progress=lambda *_: restoring.set())
    with pytest.raises(RunInterrupted):
        restore_backup(source.settings, backup, database=new_name(), execution=execution)
    assert source.databases() == before


def test_restore_backup_says_so_when_a_role_is_missing(source: Source, drop_later: Callable[[str], str]) -> None:
    name, database = f"gone_{uuid.uuid4().hex[:8]}", drop_later(new_name())
    source.run(f"CREATE ROLE {name}; GRANT SELECT ON notification TO {name}")
    backup = source.back_up()
    assert backup.manifest.grantees == (name,)
    source.run(f"DROP OWNED BY {name}; DROP ROLE {name}")
    report = restore_backup(source.settings, backup, database=database, execution=Execution())
    assert not report.keeps_owners
    assert name in str(report.owners_note)


def test_restore_backup_gives_all_to_a_role_that_may_not_keep_the_owners(
    empty_source: Source, drop_later: Callable[[str], str]
) -> None:
    empty_source.run("CREATE TABLE public.of_superuser (id int); GRANT SELECT ON public.of_superuser TO PUBLIC")
    database = drop_later(new_name())
    with role(empty_source, "CREATEDB") as owner:
        backup = empty_source.back_up()
        report = restore_backup(owner.settings, backup, database=database, execution=Execution())
        assert "needs a superuser" in str(report.owners_note)
        empty_source.run(f"DROP DATABASE {database}")


def test_compare_rows_finds_a_row_that_is_missing(source: Source) -> None:
    source.run("DELETE FROM notification WHERE id = 7")
    target = target_of(source.settings.sqlalchemy_url, source.settings)
    rows, [difference] = compare_rows(target, EXPECTED_ROWS, execution=Execution())
    assert rows == sum(EXPECTED_ROWS.values()) - 1
    assert (difference.table, difference.expected, difference.found) == ("public.notification", 20000, 19999)


def test_open_session_reaches_a_server_with_a_role_that_has_time_limits(source: Source) -> None:
    name = f"limited_{uuid.uuid4().hex[:8]}"
    source.run(
        f"CREATE ROLE {name} SUPERUSER LOGIN PASSWORD 'x'; ALTER ROLE {name} SET statement_timeout = '2s';"
        f"ALTER ROLE {name} SET idle_in_transaction_session_timeout = '2s'"
    )
    try:
        limited = make_source(replace_user(source.url, name, "x"), source.settings)
        with open_session(target_of(limited.settings.sqlalchemy_url, limited.settings)) as session:
            assert session.execute("SHOW statement_timeout").fetchone() == ("0",)
            assert session.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("0",)
    finally:
        source.run(f"DROP ROLE {name}")


def test_restore_backup_brings_the_rows_of_some_tables_and_the_whole_structure(
    each_source: Source, drop_later: Callable[[str], str]
) -> None:
    each_source.run(
        "CREATE TABLE public.referring (id int PRIMARY KEY, dog int REFERENCES notification);"
        "INSERT INTO public.referring VALUES (1, 7)"
    )
    backup, name = each_source.back_up(), new_name()
    tables = ["attendance_2026", '"With.Dot"."Quote""d"', "referring"]
    report = restore_backup(each_source.settings, backup, database=name, execution=Execution(), tables=tables)
    copy = beside(each_source, name)
    try:
        assert report.rows_compared == 2 + 3 + 1
        assert read(copy, 'SELECT twice FROM "With.Dot"."Quote""d" ORDER BY 1') == [(2,), (4,), (6,)]
        assert read(copy, "SELECT count(*) FROM public.attendance") == [(2,)]
        assert read(copy, "SELECT count(*) FROM public.notification") == [(0,)]
        structure = "SELECT relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
        assert read(copy, structure) == read(each_source, structure)
    finally:
        each_source.run(f"DROP DATABASE {name}")
    with pytest.raises(ParamsInvalid, match="no table attendance"):
        restore_backup(each_source.settings, backup, database=name, execution=Execution(), tables=["attendance"])
