"""Restoring beside and over the live database, on real servers."""

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

from k9ops.backups import over_live
from k9ops.backups.catalogue import list_backups, load_backup, make_backup_id
from k9ops.backups.connections import open_session, target_of
from k9ops.backups.over_live import OverLiveReport, restore_over_live
from k9ops.backups.restore import restore_backup
from k9ops.backups.restoring import compare_rows
from k9ops.db.migrate import upgrade
from k9ops.errors import BackupDamaged, DatabaseInvalid, RunInterrupted, VerificationFailed
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


def test_restore_over_live_keeps_the_live_database_aside(each_source: Source) -> None:
    backup = each_source.back_up()
    each_source.run("DELETE FROM notification; ANALYZE")
    report = over(each_source, backup.backup_id)
    live, previous = database_of(each_source), report.previous_database
    try:
        assert read(each_source, "SELECT count(*) FROM notification") == [(20000,)]
        assert read(beside(each_source, previous), "SELECT count(*) FROM notification") == [(0,)]
        assert (report.restore.database, report.restore.tables_compared) == (live, len(EXPECTED_ROWS))
        safety = load_backup(each_source.settings.backup_dir, report.safety_backup_id)
        assert safety.manifest.tables["public.notification"] == 0
        assert each_source.scratch_databases() == set()
        undo(each_source, report)
        assert read(each_source, "SELECT count(*) FROM notification") == [(0,)]
    finally:
        for name in each_source.databases():
            if name.startswith(live) and name != live:
                each_source.run(f'DROP DATABASE "{name}"')


def over(source: Source, backup_id: str, execution: Execution | None = None) -> OverLiveReport:
    backup = load_backup(source.settings.backup_dir, backup_id)
    return restore_over_live(source.settings, backup, execution=execution or Execution(), safety_backup_id=fresh_id())


def undo(source: Source, report: OverLiveReport) -> None:
    for statement in report.undo.split(";")[:-1]:
        beside(source, "postgres").run(statement)


def test_restore_over_live_ends_the_sessions_of_an_application_that_keeps_coming_back(source: Source) -> None:
    backup = source.back_up()
    stop, answers = threading.Event(), []

    def use() -> None:
        while not stop.is_set():
            try:
                with psycopg.connect(source.url, autocommit=True) as connection:
                    while not stop.is_set():
                        answers.append(connection.execute("SELECT count(*) FROM notification").fetchone())
            except psycopg.OperationalError:
                continue

    users = [threading.Thread(target=use) for _ in range(4)]
    for user in users:
        user.start()
    try:
        report = over(source, backup.backup_id)
    finally:
        stop.set()
        for user in users:
            user.join()
    assert set(answers) == {(20000,)}
    source.run(f'DROP DATABASE "{report.previous_database}"')


def test_restore_over_live_carries_over_what_no_archive_holds(source: Source) -> None:
    live, name = database_of(source), f"guest_{uuid.uuid4().hex[:8]}"
    source.run(
        f"CREATE ROLE {name}; GRANT CREATE ON DATABASE {live} TO {name} WITH GRANT OPTION;"
        f"REVOKE CONNECT ON DATABASE {live} FROM PUBLIC; ALTER DATABASE {live} CONNECTION LIMIT 77;"
        f"ALTER DATABASE {live} SET search_path = \"$user\", 'مخطط', public;"
        f"ALTER DATABASE {live} SET statement_timeout = '5min'; ALTER DATABASE {live} SET custom.unit = 'K9';"
        f"ALTER ROLE {name} IN DATABASE {live} SET work_mem = '9MB'; ALTER DATABASE {live} OWNER TO {name}"
    )
    query = (
        "SELECT pg_get_userbyid(datdba), datconnlimit, (SELECT array_agg(item::text ORDER BY item::text) FROM"
        " unnest(datacl) item), (SELECT array_agg((setrole, setconfig)::text ORDER BY setrole) FROM pg_db_role_setting"
        " WHERE setdatabase = d.oid) FROM pg_database d WHERE datname = current_database()"
    )
    before = read(source, query)
    report = over(source, source.back_up().backup_id)
    try:
        assert report.properties_not_copied == ()
        assert read(source, query) == before
    finally:
        source.run(f"ALTER DATABASE {live} OWNER TO CURRENT_USER")
        source.run(f'DROP DATABASE "{report.previous_database}"')
        source.run(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_restore_over_live_cancels_the_runs_that_were_open(empty_source: Source) -> None:
    upgrade(empty_source.engine)
    empty_source.engine.dispose()
    empty_source.run(
        "INSERT INTO k9ops.run (id, job, queue, trigger, state, lease_owner, evidence) VALUES"
        " (gen_random_uuid(), 'a', 'q', 'send', 'queued', NULL, NULL),"
        " (gen_random_uuid(), 'b', 'q', 'send', 'running', 'worker', NULL),"
        " (gen_random_uuid(), 'c', 'q', 'send', 'retrying', NULL, NULL),"
        " (gen_random_uuid(), 'd', 'q', 'send', 'succeeded', NULL, '{}')"
    )
    report = over(empty_source, empty_source.back_up().backup_id)
    assert report.cancelled_runs == 3
    states = read(empty_source, "SELECT job, state, lease_owner, finished_at IS NULL FROM k9ops.run ORDER BY job")
    assert states[:3] == [(job, "cancelled", None, False) for job in "abc"]
    assert states[3][1] == "succeeded"
    empty_source.run(f'DROP DATABASE "{report.previous_database}"')


def test_restore_over_live_changes_nothing_when_the_second_rename_fails(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup, before = source.back_up(), source.databases()
    original = over_live._swap

    def swap_into_a_name_that_is_taken(*args: object, live: str, new: str, previous: str) -> None:
        original(*args, live=live, new="no_such_database", previous=previous)  # type: ignore[arg-type]

    monkeypatch.setattr(over_live, "_swap", swap_into_a_name_that_is_taken)
    with pytest.raises(psycopg.errors.InvalidCatalogName):
        over(source, backup.backup_id)
    assert source.databases() == before
    assert read(source, "SELECT count(*) FROM notification") == [(20000,)]


def test_restore_over_live_changes_nothing_when_the_backup_is_damaged(source: Source) -> None:
    backup, before = source.back_up(), source.databases()
    backup.archive_path.write_bytes(b"x" * backup.size_bytes)
    with pytest.raises(BackupDamaged, match="SHA-256"):
        over(source, backup.backup_id)
    assert source.databases() == before
    assert list_backups(backup.folder).backups == (backup,), "no safety backup for nothing"


def test_restore_over_live_needs_a_live_database(source: Source) -> None:
    backup = source.back_up()
    lost = make_source(f"{source.url.rpartition('/')[0]}/{new_name()}", source.settings)
    with pytest.raises(DatabaseInvalid, match="restore into a new one"):
        over(lost, backup.backup_id)


def test_restore_over_live_works_for_the_owner_of_the_database(empty_source: Source) -> None:
    with role(empty_source, "CREATEDB") as owner:
        backup = owner.back_up()
        report = over(owner, backup.backup_id)
        assert report.restore.keeps_owners is ("superuser" not in str(report.restore.owners_note))
        empty_source.run(f'DROP DATABASE "{report.previous_database}"')


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
