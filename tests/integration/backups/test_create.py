"""create_backup against real servers of every supported version."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
import zstandard
from psycopg import sql
from tests.integration.backups.conftest import EXPECTED_ROWS, Source, make_source

from k9ops.backups import create
from k9ops.backups.catalogue import Backup, list_backups, load_backup, make_backup_id, pin
from k9ops.backups.verify import verify_backup
from k9ops.durable import open_partial
from k9ops.embedded.postgres import wheel_bin_dir
from k9ops.errors import (
    ClientFailed,
    ClientMemoryExceeded,
    ClientUnsuitable,
    DatabaseInvalid,
    DatabaseUnavailable,
    DiskFull,
    RunInterrupted,
    TransientError,
)
from k9ops.outcome import Execution

DEADLINE_S = 20


def files_of(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_create_backup_describes_exactly_what_it_wrote(each_source: Source) -> None:
    backup = each_source.back_up()
    manifest = backup.manifest
    content = backup.archive_path.read_bytes()
    assert manifest.tables == EXPECTED_ROWS
    assert manifest.sha256 == hashlib.sha256(content).hexdigest()
    assert manifest.size_bytes == len(content)
    assert manifest.schema_revision == {"public": "b7e1", "k9ops": "0001"}
    assert manifest.started_at <= manifest.snapshot_at <= manifest.finished_at
    if manifest.compression == "zstd-stream":
        plain = zstandard.ZstdDecompressor().decompressobj().decompress(content)
        assert manifest.uncompressed_bytes == len(plain)
        assert plain.startswith(b"PGDMP")
    else:
        assert content.startswith(b"PGDMP")
    assert list_backups(backup.folder).backups == (backup,)
    assert files_of(backup.folder) == {f"{backup.backup_id}.dump", f"{backup.backup_id}.json"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in backup.folder.iterdir())


def test_create_backup_compresses_in_the_client_when_it_can(source17: Source, source: Source) -> None:
    assert source17.back_up().manifest.compression == "zstd"
    assert source.back_up().manifest.compression == "zstd-stream"


def test_create_backup_restores_on_the_same_version_without_an_error(each_source: Source) -> None:
    backup = each_source.back_up()
    verification = verify_backup(each_source.settings, backup, execution=Execution())
    assert (verification.state, verification.reason) == ("verified", None)
    assert verification.rows_compared == sum(EXPECTED_ROWS.values())


def test_create_backup_works_on_an_empty_database(empty_source: Source) -> None:
    backup = empty_source.back_up()
    assert backup.manifest.tables == {}
    assert verify_backup(empty_source.settings, backup, execution=Execution()).state == "verified"


def test_create_backup_holds_one_moment_while_rows_are_written(source: Source) -> None:
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(source.url, autocommit=True) as connection:
            for number in range(100_000, 200_000):
                if stop.is_set():
                    return
                connection.execute("INSERT INTO notification VALUES (%s, 'x')", [number])
                connection.execute("INSERT INTO empty VALUES (1)")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        backup = source.back_up()
    finally:
        stop.set()
        writer.join()
    verification = verify_backup(source.settings, backup, execution=Execution())
    assert verification.differences == ()


def test_create_backup_returns_the_same_backup_when_its_run_is_tried_again(source: Source) -> None:
    first = source.back_up()
    modified_at = first.archive_path.stat().st_mtime_ns
    assert source.back_up(backup_id=first.backup_id) == first
    assert first.archive_path.stat().st_mtime_ns == modified_at


@pytest.mark.parametrize("damage", ["flip", "cut", "no manifest", "no archive"])
def test_create_backup_dumps_again_when_what_is_there_is_not_whole(source: Source, damage: str) -> None:
    backup = source.back_up()
    pin(backup, "mine")
    content = bytearray(backup.archive_path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        backup.archive_path.write_bytes(content)
    elif damage == "cut":
        backup.archive_path.write_bytes(content[:-1])
    elif damage == "no manifest":
        (backup.folder / f"{backup.backup_id}.json").unlink()
    else:
        backup.archive_path.unlink()
    again = source.back_up(backup_id=backup.backup_id)
    assert again.manifest.finished_at > backup.manifest.finished_at
    assert load_backup(backup.folder, backup.backup_id).is_pinned
    assert verify_backup(source.settings, again, execution=Execution()).state == "verified"


def test_create_backup_refuses_a_second_writer_of_the_same_backup(source: Source) -> None:
    backup_id = make_backup_id(datetime.now(UTC), uuid.uuid4())
    folder = source.settings.backup_dir
    folder.mkdir()
    with open_partial(folder / f".{backup_id}.dump.partial"), pytest.raises(TransientError, match="another process"):
        source.back_up(backup_id=backup_id)
    assert source.back_up(backup_id=backup_id).backup_id == backup_id


def test_create_backup_writes_nothing_without_a_suitable_client(source15: Source) -> None:
    with pytest.raises(ClientUnsuitable, match="found: 18"):
        source15.with_settings(pg_bin_dir=wheel_bin_dir()).back_up()
    assert files_of(source15.settings.backup_dir) == set()


def test_create_backup_writes_nothing_when_the_disk_has_too_little_room(source: Source) -> None:
    with pytest.raises(DiskFull, match=r"needs 1\d{3}\.\d TB .* are free"):
        source.with_settings(backup_min_free_bytes=10**15).back_up()
    assert files_of(source.settings.backup_dir) == set()


def test_create_backup_leaves_nothing_and_no_process_when_it_must_stop(source: Source) -> None:
    written = []

    def note(done: int, _total: int, _unit: str) -> None:
        written.append(done)

    def stop_when_writing() -> None:
        if written:
            raise RunInterrupted("The worker shuts down.", reason="shutdown")

    with pytest.raises(RunInterrupted):
        source.back_up(Execution(check_stop=stop_when_writing, report_progress=note))
    assert files_of(source.settings.backup_dir) == set()
    deadline = time.monotonic() + DEADLINE_S
    with psycopg.connect(source.url, autocommit=True) as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        while (row := connection.execute(query).fetchone()) and row[0]:
            assert time.monotonic() < deadline, "pg_dump is still connected"


def test_create_backup_stops_while_a_table_is_being_counted(source: Source) -> None:
    with psycopg.connect(source.url) as blocker:
        blocker.execute("LOCK TABLE notification")
        polls = []

        def stop_at_the_third_poll() -> None:
            polls.append(1)
            if len(polls) == 3:
                raise RunInterrupted("The worker shuts down.", reason="shutdown")

        with pytest.raises(RunInterrupted):
            source.back_up(Execution(check_stop=stop_at_the_third_poll))
    assert files_of(source.settings.backup_dir) == set()


def test_create_backup_gives_up_on_a_table_that_stays_locked(source: Source) -> None:
    with psycopg.connect(source.url) as blocker:
        blocker.execute("LOCK TABLE notification")
        with pytest.raises(TransientError, match="locked a table for over 1 s"):
            source.with_settings(backup_stall_s=1).back_up()


def test_create_backup_says_when_the_server_is_away(source: Source) -> None:
    url = source.url.rsplit(":", 1)[0] + ":1/k9"
    with pytest.raises(DatabaseUnavailable):
        make_source(url, source.settings).back_up()
    assert files_of(source.settings.backup_dir) == set()


def test_create_backup_takes_no_part_of_a_table_for_the_whole(source: Source) -> None:
    """Row-level security would hide rows from a role that is not its table's owner."""
    name = f"reader_{uuid.uuid4().hex[:8]}"
    source.run(f"CREATE ROLE {name} LOGIN PASSWORD 'x'; GRANT pg_read_all_data TO {name}")
    source.run("CREATE TABLE public.guarded (id int); ALTER TABLE public.guarded ENABLE ROW LEVEL SECURITY")
    try:
        with pytest.raises(DatabaseInvalid, match="row-level security"):
            make_source(replace_user(source.url, name, "x"), source.settings).back_up()
        assert files_of(source.settings.backup_dir) == set()
    finally:
        source.run(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_create_backup_says_why_pg_dump_failed(source: Source) -> None:
    name = f"reader_{uuid.uuid4().hex[:8]}"
    source.run(f"CREATE ROLE {name} LOGIN PASSWORD 'x'; CREATE SEQUENCE public.hidden")
    source.run(
        f'GRANT USAGE ON SCHEMA "مخطط", "With.Dot", k9ops TO {name};'
        f'GRANT SELECT ON ALL TABLES IN SCHEMA public, "مخطط", "With.Dot", k9ops TO {name}'
    )
    try:
        with pytest.raises(ClientFailed, match=r"pg_dump ended with an error: .*hidden"):
            make_source(replace_user(source.url, name, "x"), source.settings).back_up()
        assert files_of(source.settings.backup_dir) == set()
    finally:
        source.run(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_create_backup_says_which_table_a_role_may_not_read(source: Source) -> None:
    name = f"blind_{uuid.uuid4().hex[:8]}"
    source.run(f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
    try:
        with pytest.raises(DatabaseInvalid, match="permission denied"):
            make_source(replace_user(source.url, name, "x"), source.settings).back_up()
    finally:
        source.run(f"DROP ROLE {name}")


def test_create_backup_hides_a_password_of_odd_characters(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    password, name = "p@ss:/ %w\"\\'كلب", f"odd_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(source.url, autocommit=True) as connection:
        statement = sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}")
        connection.execute(statement.format(sql.Identifier(name), sql.Literal(password)))
    seen: list[str] = []

    def look_at_all_processes() -> None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except (FileNotFoundError, ProcessLookupError):
                continue

    try:
        odd = make_source(replace_user(source.url, name, quote(password, safe="")), source.settings)
        # Asked for the first time before pg_dump can have done anything.
        backup = odd.back_up(Execution(check_stop=look_at_all_processes))
        assert verify_backup(odd.settings, backup, execution=Execution()).state == "verified"
    finally:
        source.run(f"DROP ROLE {name}")
    assert any("pg_dump" in line and backup.manifest.database in line for line in seen)
    assert not any("p@ss" in line for line in seen)
    assert "p@ss" not in json.dumps(backup.manifest.model_dump(mode="json"))


def test_create_backup_reports_progress_that_never_passes_its_total(source: Source) -> None:
    reports: list[tuple[int, int, str]] = []
    backup = source.back_up(Execution(report_progress=lambda *report: reports.append(report)))
    done = [report[0] for report in reports]
    assert done == sorted(done)
    assert all(0 <= done <= total and unit == "bytes" for done, total, unit in reports)
    assert done[-1] <= backup.size_bytes


def test_create_backup_expects_the_size_of_the_last_backup_of_this_database(source: Source) -> None:
    backup = source.back_up()
    totals: list[int] = []
    source.back_up(Execution(report_progress=lambda _done, total, _unit: totals.append(total)))
    assert totals[0] == int(backup.size_bytes * create._GROWTH)


def replace_user(url: str, name: str, password: str) -> str:
    return f"postgresql://{name}:{password}@{url.rpartition('@')[2]}"


def test_create_backup_names_one_of_several_hosts_to_pg_dump(source: Source) -> None:
    head, _, tail = source.url.partition("@")
    address, _, database = tail.partition("/")
    host, _, port = address.partition(":")
    many = make_source(f"{head}@/{database}?host={host}:1&host={host}:{port}", source.settings)
    backup: Backup = many.back_up()
    assert backup.manifest.tables == EXPECTED_ROWS


def test_create_backup_names_an_archive_only_when_it_is_on_the_disk(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each name is given after an fsync of the file, and kept by an fsync of the folder."""
    steps: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def note_fsync(descriptor: int) -> None:
        steps.append(f"fsync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        fsync(descriptor)

    def note_rename(path: Path, target: Path) -> Path:
        steps.append(f"rename {path.name} {target.name}")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "rename", note_rename)
    backup = source.back_up()
    name, folder = backup.backup_id, f"fsync {backup.folder.name}"
    assert steps == [
        f"fsync .{name}.dump.partial",
        f"rename .{name}.dump.partial {name}.dump",
        folder,
        f"fsync .{name}.json.partial",
        f"rename .{name}.json.partial {name}.json",
        folder,
    ]


def test_create_backup_says_when_pg_dump_needs_more_memory_than_it_may_have(source: Source) -> None:
    source.run("CREATE TABLE public.photo AS SELECT repeat('x', 40000000) AS content")
    with pytest.raises(ClientMemoryExceeded, match=r"^pg_dump needs more than the 64 MB .* Allow it more\.$"):
        source.with_settings(backup_client_memory_mb=64).back_up()
    assert files_of(source.settings.backup_dir) == set()
    backup = source.back_up()
    small = source.with_settings(backup_client_memory_mb=64)
    with pytest.raises(ClientMemoryExceeded, match=r"^pg_restore needs more than the 64 MB"):
        verify_backup(small.settings, backup, execution=Execution())
    assert source.scratch_databases() == set()
    assert load_backup(backup.folder, backup.backup_id).state.verification.state == "unverified"
