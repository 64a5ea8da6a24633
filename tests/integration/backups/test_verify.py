"""verify_backup against real servers: what it notices, what it refuses to call verified, what it leaves."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from tests.integration.backups.conftest import EXPECTED_ROWS, Source, make_source
from tests.integration.backups.test_create import replace_user

from k9ops.backups.catalogue import Backup, load_backup, manifest_path
from k9ops.backups.connections import open_session, target_of
from k9ops.backups.manifest import encode
from k9ops.backups.scratch import drop_stale_scratch_databases, scratch_database
from k9ops.backups.verify import verify_backup
from k9ops.errors import BackupNotFound, ClientFailed, DatabaseUnavailable, RunInterrupted
from k9ops.outcome import Execution

DEADLINE_S = 30

_END_RESTORE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE starts_with(datname, 'k9ops_scratch_') AND backend_type = 'client backend'"
)


def rewrite_manifest(backup: Backup, **changes: object) -> Backup:
    manifest = backup.manifest.model_copy(update=changes)
    manifest_path(backup.folder, backup.backup_id).write_bytes(encode(manifest))
    return load_backup(backup.folder, backup.backup_id)


@contextmanager
def role(source: Source, options: str) -> Iterator[Source]:
    """The same database through a role that owns it but is no superuser."""
    name = f"owner_{uuid.uuid4().hex[:8]}"
    database = source.url.rpartition("/")[2]
    source.run(f"CREATE ROLE {name} LOGIN PASSWORD 'x' {options}; ALTER DATABASE {database} OWNER TO {name}")
    source.run("CREATE TABLE public.owned (id int); INSERT INTO public.owned VALUES (1)")
    source.run(f"ALTER TABLE public.owned OWNER TO {name}")
    try:
        yield make_source(replace_user(source.url, name, "x"), source.settings)
    finally:
        source.run(f"ALTER DATABASE {database} OWNER TO CURRENT_USER; DROP OWNED BY {name}; DROP ROLE {name}")


def test_verify_backup_stores_what_it_found(each_source: Source) -> None:
    backup = each_source.back_up()
    before = each_source.databases()
    reports: list[tuple[int, int, str]] = []
    execution = Execution(report_progress=lambda *report: reports.append(report))
    verification = verify_backup(each_source.settings, backup, execution=execution)
    assert verification.state == "verified"
    assert verification.tables_compared == len(EXPECTED_ROWS)
    assert verification.differences == ()
    assert load_backup(backup.folder, backup.backup_id).state.verification == verification
    done, total, unit = reports[-1]
    assert (done, unit) == (total, "objects")
    assert total >= 2 * len(EXPECTED_ROWS), "each table, and its rows"
    counts = [done for done, *_ in reports]
    assert (counts, set(counts)) == (sorted(counts), set(range(total + 1)))
    assert each_source.databases() == before


@pytest.mark.parametrize("kind", ["zstd", "zstd-stream"])
def test_verify_backup_notices_every_flipped_bit(source17: Source, source: Source, kind: str) -> None:
    chosen = source17 if kind == "zstd" else source
    backup = chosen.back_up()
    assert backup.manifest.compression == kind
    whole = backup.archive_path.read_bytes()
    generator = random.Random(7)  # noqa: S311 - the same bits each time
    for _ in range(25):
        damaged = bytearray(whole)
        damaged[generator.randrange(len(whole))] ^= 1 << generator.randrange(8)
        backup.archive_path.write_bytes(damaged)
        verification = verify_backup(chosen.settings, backup, execution=Execution())
        assert (verification.state, verification.reason) == (
            "failed",
            "The archive's SHA-256 is not the one that was written.",
        )


def test_verify_backup_notices_a_cut_archive(source: Source) -> None:
    backup = source.back_up()
    os.truncate(backup.archive_path, backup.size_bytes // 2)
    verification = verify_backup(source.settings, backup, execution=Execution())
    assert verification.state == "failed"
    assert "bytes" in str(verification.reason)


@pytest.mark.parametrize("kind", ["zstd", "zstd-stream"])
def test_verify_backup_fails_an_archive_that_was_cut_before_it_was_hashed(
    source17: Source, source: Source, kind: str
) -> None:
    chosen = source17 if kind == "zstd" else source
    backup = chosen.back_up()
    content = backup.archive_path.read_bytes()[: backup.size_bytes // 2]
    backup.archive_path.write_bytes(content)
    backup = rewrite_manifest(backup, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    verification = verify_backup(chosen.settings, backup, execution=Execution())
    assert verification.state == "failed"
    assert "pg_restore ended with an error" in str(verification.reason)
    assert chosen.scratch_databases() == set()


def test_verify_backup_fails_when_a_count_differs(source: Source) -> None:
    backup = source.back_up()
    tables = {**EXPECTED_ROWS, "public.notification": 20001, "public.gone": 4}
    del tables["public.empty"]
    verification = verify_backup(source.settings, rewrite_manifest(backup, tables=tables), execution=Execution())
    assert verification.state == "failed"
    found = {item.table: (item.expected, item.found) for item in verification.differences}
    assert found == {"public.notification": (20001, 20000), "public.gone": (4, None), "public.empty": (None, 0)}
    assert "public.notification has 20000 instead of 20001" in str(verification.reason)


def test_verify_backup_is_unverified_when_the_role_may_not_create_databases(source: Source) -> None:
    backup = source.back_up()
    with role(source, "NOCREATEDB") as humble:
        verification = verify_backup(humble.settings, backup, execution=Execution())
    assert verification.state == "unverified"
    assert "may not create databases" in str(verification.reason)
    assert "K9OPS_VERIFY_DATABASE_URL" in str(verification.reason)
    assert load_backup(backup.folder, backup.backup_id).verification_state == "unverified"


def test_verify_backup_works_for_a_role_that_is_no_superuser(empty_source: Source) -> None:
    with role(empty_source, "CREATEDB") as owner:
        backup = owner.back_up()
        assert verify_backup(owner.settings, backup, execution=Execution()).state == "verified"
        assert owner.scratch_databases() == set()


def test_verify_backup_uses_the_server_that_is_set_for_it(source: Source, source17: Source) -> None:
    backup = source.back_up()
    settings = make_source(
        source.url, source.settings.model_copy(update={"verify_database_url": source17.url})
    ).settings
    verification = verify_backup(settings, backup, execution=Execution())
    assert verification.state == "unverified"
    assert "the server for verification is 17" in str(verification.reason)


def test_verify_backup_changes_nothing_when_it_must_stop(source: Source) -> None:
    backup = source.back_up()
    reports: list[int] = []

    def stop_when_restoring() -> None:
        if reports:
            raise RunInterrupted("The worker shuts down.", reason="shutdown")

    execution = Execution(check_stop=stop_when_restoring, report_progress=lambda done, *_: reports.append(done))
    with pytest.raises(RunInterrupted):
        verify_backup(source.settings, backup, execution=execution)
    assert load_backup(backup.folder, backup.backup_id) == backup
    assert source.scratch_databases() == set()


def test_verify_backup_blames_the_server_when_that_ends_the_restore(source: Source) -> None:
    """The restore's session is ended from outside: the archive is as good as before."""
    source.run("CREATE TABLE noise AS SELECT md5(random()::text) FROM generate_series(1, 300000)")
    backup = source.back_up()
    ended = []

    def end_the_restore(done: int, total: int, _unit: str) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not ended and done < total:
            assert time.monotonic() < deadline, "pg_restore has not connected"
            with psycopg.connect(source.url, autocommit=True) as connection:
                ended.extend(connection.execute(_END_RESTORE).fetchall())

    with pytest.raises((ClientFailed, DatabaseUnavailable)):
        verify_backup(source.settings, backup, execution=Execution(report_progress=end_the_restore))
    assert ended
    assert load_backup(backup.folder, backup.backup_id) == backup
    assert source.scratch_databases() == set()


def test_verify_backup_says_when_the_server_is_away(source: Source) -> None:
    backup = source.back_up()
    url = source.url.rsplit(":", 1)[0] + ":1/k9"
    with pytest.raises(DatabaseUnavailable):
        verify_backup(make_source(url, source.settings).settings, backup, execution=Execution())
    assert load_backup(backup.folder, backup.backup_id) == backup


def test_verify_backup_refuses_a_backup_that_was_deleted_meanwhile(source: Source) -> None:
    backup = source.back_up()

    def delete(_done: int, _total: int, _unit: str) -> None:
        for path in backup.folder.glob(f"{backup.backup_id}.*"):
            path.unlink()

    with pytest.raises(BackupNotFound):
        verify_backup(source.settings, backup, execution=Execution(report_progress=delete))
    assert list(backup.folder.iterdir()) == []


def test_drop_stale_scratch_databases_spares_those_in_use(source: Source) -> None:
    shape = source.back_up().manifest.shape
    target = target_of(source.settings.sqlalchemy_url, source.settings)
    with open_session(target) as user, open_session(target) as sweeper, scratch_database(user, shape) as name:
        assert drop_stale_scratch_databases(sweeper) == ()
        assert name in source.databases()
        user.execute("SELECT pg_advisory_unlock_all()")
        assert drop_stale_scratch_databases(sweeper) == (name,)
        assert name not in source.databases()


def test_drop_stale_scratch_databases_leaves_those_of_another_installation(source: Source) -> None:
    neighbour = source.url.rpartition("/")[2] + "_neighbour"
    source.run(f"CREATE DATABASE {neighbour}")
    shape = source.back_up().manifest.shape
    target = target_of(source.settings.sqlalchemy_url, source.settings)
    try:
        with (
            open_session(target.with_database(neighbour)) as other,
            open_session(target) as session,
            scratch_database(other, shape) as name,
        ):
            assert drop_stale_scratch_databases(session) == ()
            assert name in source.databases()
    finally:
        source.run(f"DROP DATABASE {neighbour}")


def test_verify_backup_drops_the_scratch_database_of_a_killed_process(source: Source, tmp_path: Path) -> None:
    backup = source.back_up()
    program = (
        "import sys, pathlib\n"
        "from k9ops.backups.catalogue import load_backup\n"
        "from k9ops.backups.verify import verify_backup\n"
        "from k9ops.config.settings import Settings\n"
        "from k9ops.outcome import Execution\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "settings = Settings(database_url=sys.stdin.readline().strip(), backup_dir=folder)\n"
        "def wait(*report):\n"
        "    print('restoring', flush=True)\n"
        "    sys.stdin.read()\n"
        "verify_backup(settings, load_backup(folder, sys.argv[2]), execution=Execution(report_progress=wait))\n"
    )
    victim = subprocess.Popen(
        [sys.executable, "-c", program, str(backup.folder), backup.backup_id],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with victim:
        assert victim.stdin is not None
        assert victim.stdout is not None
        victim.stdin.write(source.url + "\n")
        victim.stdin.flush()
        while (line := victim.stdout.readline()) != "restoring\n":
            assert line, "it ended early"
        assert len(source.scratch_databases()) == 1
        victim.send_signal(signal.SIGKILL)
    wait_for_free_lock(source)
    assert verify_backup(source.settings, backup, execution=Execution()).state == "verified"
    assert source.scratch_databases() == set()


def wait_for_free_lock(source: Source) -> None:
    """The server needs a moment to notice that a killed client has gone."""
    deadline = time.monotonic() + DEADLINE_S
    with psycopg.connect(source.url, autocommit=True) as connection:
        while connection.execute("SELECT FROM pg_locks WHERE locktype = 'advisory'").fetchone() is not None:
            assert time.monotonic() < deadline, "the lock is still held"
