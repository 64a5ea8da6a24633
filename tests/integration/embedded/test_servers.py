"""What both embedded servers promise: alone on their data, never left behind, never ended early."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import redis

from k9ops.embedded import process
from k9ops.embedded.postgres import PostgresServer, wheel_bin_dir
from k9ops.embedded.valkey import ValkeyServer
from k9ops.errors import EmbeddedServerFailed

Server = PostgresServer | ValkeyServer
_LIMIT_S = 30

_HOLDER = """
import signal, sys, threading
from pathlib import Path
from k9ops.embedded.postgres import PostgresServer, wheel_bin_dir
from k9ops.embedded.valkey import ValkeyServer
kind, data_dir = sys.argv[1], Path(sys.argv[2])
server = PostgresServer(data_dir, bin_dir=wheel_bin_dir()) if kind == "postgres" else ValkeyServer(data_dir)
starter = threading.Thread(target=server.start)
starter.start()
starter.join()
print(server.pid, flush=True)
signal.pause()
"""


def _make_postgres(data_dir: Path) -> Server:
    return PostgresServer(data_dir, bin_dir=wheel_bin_dir())


@pytest.fixture(params=["postgres", "valkey"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def data_dir(kind: str, server_folder: Path, request: pytest.FixtureRequest) -> Path:
    return server_folder / f"{kind}-{abs(hash(request.node.nodeid))}"


@pytest.fixture
def make(kind: str) -> Callable[[Path], Server]:
    return _make_postgres if kind == "postgres" else ValkeyServer


def _write(server: Server) -> None:
    if isinstance(server, PostgresServer):
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 'ريم' AS name")
    else:
        with redis.Redis.from_url(server.url) as client:
            client.set("name", "ريم")


def _read(server: Server) -> str:
    if isinstance(server, PostgresServer):
        with psycopg.connect(server.url) as connection:
            row = connection.execute("SELECT name FROM kept").fetchone()
            assert row is not None
            return str(row[0])
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        return str(client.get("name"))


def _put_on_disk(server: Server) -> None:
    """Wait until what was written survives a kill; Valkey syncs its file every second, PostgreSQL at each commit."""
    if isinstance(server, ValkeyServer):
        with redis.Redis.from_url(server.url) as client:
            assert client.execute_command("WAITAOF", 1, 0, _LIMIT_S * 1000)[0] == 1


def _has_ended(pidfd: int) -> bool:
    return bool(select.select([pidfd], [], [], _LIMIT_S)[0])


def test_server_keeps_its_data_when_started_again(make: Callable[[Path], Server], data_dir: Path) -> None:
    with make(data_dir) as first:
        _write(first)
    with make(data_dir) as second:
        assert _read(second) == "ريم"


def test_server_refuses_to_start_when_its_data_is_in_use(
    make: Callable[[Path], Server], data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_LOCK_WAIT_S", 0.1)
    with make(data_dir) as first:
        _write(first)
        with pytest.raises(EmbeddedServerFailed, match="already running"):
            make(data_dir).start()
        assert _read(first) == "ريم"


def test_server_lives_on_when_the_thread_that_started_it_ends(make: Callable[[Path], Server], data_dir: Path) -> None:
    server = make(data_dir)
    starter = threading.Thread(target=server.start)
    starter.start()
    starter.join()
    try:
        pidfd = os.pidfd_open(server.pid)
        try:
            assert select.select([pidfd], [], [], 1.0)[0] == []
        finally:
            os.close(pidfd)
        _write(server)
    finally:
        server.stop()


def test_server_ends_and_starts_again_when_its_parent_was_killed(
    make: Callable[[Path], Server], kind: str, data_dir: Path
) -> None:
    with subprocess.Popen([sys.executable, "-c", _HOLDER, kind, str(data_dir)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        pidfd = os.pidfd_open(int(holder.stdout.readline()))
        try:
            holder.kill()
            assert _has_ended(pidfd)
        finally:
            os.close(pidfd)
    with make(data_dir) as server:
        _write(server)
        assert _read(server) == "ريم"


def test_server_keeps_its_data_and_starts_again_when_it_was_killed(
    make: Callable[[Path], Server], data_dir: Path
) -> None:
    server = make(data_dir)
    server.start()
    try:
        _write(server)
        _put_on_disk(server)
        pidfd = os.pidfd_open(server.pid)
        try:
            os.kill(server.pid, signal.SIGKILL)
            assert _has_ended(pidfd)
        finally:
            os.close(pidfd)
    finally:
        server.stop()
    with make(data_dir) as again:
        assert _read(again) == "ريم"


def test_server_takes_another_port_when_its_first_one_is_taken(
    make: Callable[[Path], Server], data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_free_port = process.find_free_port
    with socket.socket() as rival:
        rival.bind(("127.0.0.1", 0))
        rival.listen()
        taken = rival.getsockname()[1]
        ports = iter([taken])
        monkeypatch.setattr(process, "find_free_port", lambda: next(ports, None) or find_free_port())
        with make(data_dir) as server:
            assert f":{taken}" not in server.url
            _write(server)


def test_server_is_reached_from_this_machine_only(make: Callable[[Path], Server], data_dir: Path) -> None:
    with make(data_dir) as server:
        port = int(server.url.rpartition(":")[2].partition("/")[0])
        assert _listening_addresses(port) == {"127.0.0.1"}


def test_server_has_no_url_when_it_does_not_run(make: Callable[[Path], Server], data_dir: Path) -> None:
    with pytest.raises(EmbeddedServerFailed, match="not been started"):
        _ = make(data_dir).url


def test_server_is_still_alone_on_its_data_when_it_outlives_its_parent(
    make: Callable[[Path], Server], kind: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_LOCK_WAIT_S", 0.1)
    with subprocess.Popen([sys.executable, "-c", _HOLDER, kind, str(data_dir)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        pidfd = os.pidfd_open(int(holder.stdout.readline()))
        signal.pidfd_send_signal(pidfd, signal.SIGSTOP)
        try:
            holder.kill()
            holder.wait()
            with pytest.raises(EmbeddedServerFailed, match="already running"):
                make(data_dir).start()
        finally:
            signal.pidfd_send_signal(pidfd, signal.SIGCONT)
            ended = _has_ended(pidfd)
            os.close(pidfd)
    assert ended


_WAITING_TEST = """
import signal

def test_waits(postgres_server, valkey_server, server_folder):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with open({fd}, "w") as out:
        print(postgres_server.pid, valkey_server.pid, server_folder, file=out)
    signal.pause()
"""


def test_session_leaves_nothing_behind_when_interrupted(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    source = tmp_path / "test_waiting.py"
    source.write_text(_WAITING_TEST.format(fd=writing))
    root = Path(__file__).parents[3]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-c", "pyproject.toml", str(source)]
    with subprocess.Popen(
        command, cwd=root, stdout=subprocess.DEVNULL, pass_fds=(writing,), start_new_session=True
    ) as session:
        os.close(writing)
        with os.fdopen(reading) as pipe:
            postgres_pid, valkey_pid, folder = pipe.read().split()
        pidfds = [os.pidfd_open(int(pid)) for pid in (postgres_pid, valkey_pid)]
        try:
            session.send_signal(signal.SIGINT)
            assert session.wait(timeout=_LIMIT_S) == pytest.ExitCode.INTERRUPTED
            assert all(_has_ended(pidfd) for pidfd in pidfds)
        finally:
            session.kill()
            for pidfd in pidfds:
                os.close(pidfd)
    assert not Path(folder).exists()


def _listening_addresses(port: int) -> set[str]:
    """Return the local addresses, of both families, on which somebody listens on this port (proc_net_tcp)."""
    addresses = set()
    for family, size in (("tcp", 4), ("tcp6", 16)):
        table = Path(f"/proc/net/{family}")
        for line in table.read_text().splitlines()[1:] if table.exists() else []:
            local, state = line.split()[1], line.split()[3]
            address, _, local_port = local.partition(":")
            if state == "0A" and int(local_port, 16) == port:
                packed = bytes.fromhex(address)
                addresses.add(socket.inet_ntoa(packed[::-1]) if size == 4 else address)
    return addresses
