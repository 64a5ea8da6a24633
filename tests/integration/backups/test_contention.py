"""Two at once: writers of one backup, verifications of one backup, and somebody who takes the name meanwhile."""

from __future__ import annotations

import logging
import os
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql
from tests.integration.backups.conftest import Source, make_source
from tests.integration.backups.test_create import files_of, replace_user
from tests.integration.backups.test_restore import new_name
from tests.integration.backups.test_verify import role

from k9ops.backups.catalogue import Backup, list_backups, load_backup, make_backup_id, partial_path, pin
from k9ops.backups.connections import open_session, target_of
from k9ops.backups.restore import restore_backup
from k9ops.backups.retention import RetentionPolicy, apply_retention
from k9ops.backups.scratch import scratch_database
from k9ops.backups.verify import verify_backup
from k9ops.errors import DatabaseInvalid, RunInterrupted, TransientError
from k9ops.outcome import Execution

PASSWORD = "p@ss:/ %w\"\\'كلب"


@pytest.fixture(params=["source15", "source"], ids=["postgres15", "postgres18"])
def any_source(request: pytest.FixtureRequest) -> Source:
    """The database full of oddities on the oldest server, and again on the newest."""
    found: Source = request.getfixturevalue(request.param)
    return found


def fresh_id() -> str:
    return make_backup_id(datetime.now(UTC), uuid.uuid4())


def programs_with(word: str) -> dict[int, str]:
    """Return the command lines of all running PostgreSQL clients that name `word`, by process id."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if word in line and ("pg_dump" in line or "pg_restore" in line):
            found[int(path.parent.name)] = line
    return found


def test_create_backup_makes_one_dump_when_two_writers_meet(any_source: Source) -> None:
    backup_id, first_writes, second_refused = fresh_id(), threading.Event(), threading.Event()
    others: list[str] = []

    def hold_until_refused(_done: int, _total: int, _unit: str) -> None:
        first_writes.set()
        assert second_refused.wait(30)

    def try_as_second() -> None:
        assert first_writes.wait(30)
        try:
            others.append(any_source.back_up(backup_id=backup_id).backup_id)
        except TransientError as exc:
            others.append(exc.user_message)
        finally:
            second_refused.set()

    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(try_as_second)
        backup = any_source.back_up(Execution(report_progress=hold_until_refused), backup_id=backup_id)
        second.result()
    assert others == ["This file is being written by another process."]
    assert files_of(backup.folder) == {f"{backup_id}.dump", f"{backup_id}.json"}
    assert verify_backup(any_source.settings, backup, execution=Execution()).state == "verified"


def test_create_backup_sweeps_what_a_dead_writer_left_and_spares_a_live_one(any_source: Source) -> None:
    folder, dead = any_source.settings.backup_dir, fresh_id()
    folder.mkdir()
    partial_path(folder, dead).write_bytes(b"half")
    other: list[Backup] = []

    def back_up_another(_done: int, _total: int, _unit: str) -> None:
        if not other:
            other.append(any_source.back_up())

    backup = any_source.back_up(Execution(report_progress=back_up_another))
    assert not partial_path(folder, dead).exists()
    assert {found.backup_id for found in list_backups(folder).backups} == {backup.backup_id, other[0].backup_id}
    assert list_backups(folder).problems == ()


def test_create_backup_ends_a_pg_dump_that_waits_for_a_lock(any_source: Source) -> None:
    """It would notice neither a closed pipe nor anything else but a signal."""
    database, seen = any_source.url.rpartition("/")[2], dict[int, str]()

    def stop_once_it_runs() -> None:
        seen.update(programs_with(database))
        if seen:
            raise RunInterrupted("The worker shuts down.", reason="shutdown")

    with psycopg.connect(any_source.url) as blocker:
        blocker.execute("LOCK TABLE ONLY attendance")
        with pytest.raises(RunInterrupted):
            any_source.back_up(Execution(check_stop=stop_once_it_runs))
        assert programs_with(database) == {}
    for pid in seen:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert files_of(any_source.settings.backup_dir) == set()


def test_passwords_are_in_no_command_line_and_no_log(
    any_source: Source, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("k9ops.backups"), "handlers", [caplog.handler])
    caplog.set_level(logging.DEBUG, "k9ops.backups")
    name = f"odd_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(any_source.url, autocommit=True) as connection:
        statement = sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}")
        connection.execute(statement.format(sql.Identifier(name), sql.Literal(PASSWORD)))
    odd = make_source(replace_user(any_source.url, name, quote(PASSWORD, safe="")), any_source.settings)
    lines: set[str] = set()

    def look() -> None:
        lines.update(programs_with(f"port={any_source.engine.url.port}").values())

    try:
        backup = odd.back_up(Execution(check_stop=look))
        assert verify_backup(odd.settings, backup, execution=Execution(check_stop=look)).state == "verified"
    finally:
        any_source.run(f"DROP ROLE {name}")
    assert {program for program in ("pg_dump", "pg_restore") if any(program in line for line in lines)} == {
        "pg_dump", "pg_restore",
    }  # fmt: skip
    events = [str(record.msg) for record in caplog.records]
    assert all(any(name in event for event in events) for name in ("backup.created", "backup.verified"))
    for text in (*lines, *events, *(path.read_text("utf8", "replace") for path in backup.folder.iterdir())):
        assert "p@ss" not in text
        assert quote(PASSWORD, safe="") not in text


def test_verify_backup_works_twice_at_once(any_source: Source) -> None:
    backup = any_source.back_up()
    both = threading.Barrier(2, timeout=60)
    met = threading.local()

    def meet(_done: int, _total: int, _unit: str) -> None:
        if not getattr(met, "done", False):
            met.done = True
            both.wait()

    def verify() -> str:
        return verify_backup(any_source.settings, backup, execution=Execution(report_progress=meet)).state

    with ThreadPoolExecutor(2) as pool:
        states = [future.result() for future in [pool.submit(verify) for _ in range(2)]]
    assert states == ["verified", "verified"]
    assert any_source.scratch_databases() == set()


def test_verify_backup_keeps_a_pin_that_came_meanwhile(any_source: Source) -> None:
    backup = any_source.back_up()

    def pin_it(_done: int, _total: int, _unit: str) -> None:
        pin(backup, "evidence")

    verify_backup(any_source.settings, backup, execution=Execution(report_progress=pin_it))
    found = load_backup(backup.folder, backup.backup_id)
    assert (found.verification_state, found.state.pinned_reason) == ("verified", "evidence")


def test_verify_backup_finds_a_truncated_archive_and_a_flipped_bit(any_source: Source) -> None:
    backup = any_source.back_up()
    whole = backup.archive_path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content in (whole[:-1], whole[: len(whole) // 2], b"", whole + b"\0", bytes(flipped)):
        backup.archive_path.write_bytes(content)
        assert verify_backup(any_source.settings, backup, execution=Execution()).state == "failed"
    backup.archive_path.write_bytes(whole)
    assert verify_backup(any_source.settings, backup, execution=Execution()).state == "verified"


def test_verify_backup_is_never_verified_without_the_right_to_create_databases(any_source: Source) -> None:
    backup = any_source.back_up()
    with role(any_source, "NOCREATEDB") as humble:
        verification = verify_backup(humble.settings, backup, execution=Execution())
    assert (verification.state, "CREATEDB" in str(verification.reason)) == ("unverified", True)


def test_verify_backup_drops_stale_scratch_databases_and_no_live_one(any_source: Source) -> None:
    backup = any_source.back_up()
    target = target_of(any_source.settings.sqlalchemy_url, any_source.settings)
    with open_session(target) as user, scratch_database(user, backup.manifest.shape) as live:
        stale = f"{live.rpartition('_')[0]}_00000000"
        any_source.run(f"CREATE DATABASE {stale}")
        assert verify_backup(any_source.settings, backup, execution=Execution()).state == "verified"
        assert any_source.scratch_databases() == {live}


def test_restore_backup_refuses_a_name_that_is_taken_before_it_restores_anything(any_source: Source) -> None:
    backup, reports = any_source.back_up(), list[int]()
    with pytest.raises(DatabaseInvalid, match="exists already"):
        restore_backup(
            any_source.settings,
            backup,
            database=any_source.url.rpartition("/")[2],
            execution=Execution(report_progress=lambda done, *_: reports.append(done)),
        )
    assert reports == []


def test_restore_backup_refuses_a_name_that_was_taken_meanwhile(any_source: Source) -> None:
    backup, name = any_source.back_up(), new_name()
    taken = threading.Event()

    def take(_done: int, _total: int, _unit: str) -> None:
        if not taken.is_set():
            taken.set()
            any_source.run(f"CREATE DATABASE {name}")

    try:
        with pytest.raises(DatabaseInvalid, match="exists already"):
            restore_backup(any_source.settings, backup, database=name, execution=Execution(report_progress=take))
        assert any_source.scratch_databases() == set()
        with psycopg.connect(f"{any_source.url.rpartition('/')[0]}/{name}") as connection:
            assert connection.execute("SELECT to_regclass('public.notification')").fetchone() == (None,)
    finally:
        any_source.run(f"DROP DATABASE {name}")


def test_restore_changes_nothing_when_the_role_may_not_create_databases(any_source: Source) -> None:
    backup, before = any_source.back_up(), any_source.databases()
    with role(any_source, "NOCREATEDB") as humble:
        any_source.run(f'GRANT pg_read_all_data TO "{humble.engine.url.username}"')
        with pytest.raises(DatabaseInvalid, match="may not create databases"):
            restore_backup(humble.settings, backup, database=new_name(), execution=Execution())
    assert any_source.databases() == before


def test_apply_retention_deletes_real_backups_but_no_pinned_one(any_source: Source) -> None:
    oldest, pinned, newest = (any_source.back_up() for _ in range(3))
    for backup in (oldest, pinned, newest):
        verify_backup(any_source.settings, backup, execution=Execution())
    pin(pinned, "before the move")
    settings, policy = any_source.settings, RetentionPolicy(0, daily=1, weekly=0, monthly=0)
    now = datetime.now(UTC)
    rehearsal = apply_retention(settings, policy, now=now, dry_run=True)
    assert [item.backup.backup_id for item in rehearsal.deleted] == [oldest.backup_id]
    assert len(list_backups(settings.backup_dir).backups) == 3
    report = apply_retention(settings, policy, now=now, dry_run=False)
    assert (report.deleted, report.freed_bytes) == (rehearsal.deleted, oldest.size_bytes)
    assert {item.backup.backup_id for item in report.kept} == {pinned.backup_id, newest.backup_id}
    assert not [path for path in settings.backup_dir.iterdir() if path.name.startswith(oldest.backup_id)]
    assert verify_backup(settings, load_backup(settings.backup_dir, pinned.backup_id), execution=Execution()).state == (
        "verified"
    )
