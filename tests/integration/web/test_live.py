"""Server-sent events over HTTP, from a server as it runs in production."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import uvicorn
from sqlalchemy import event
from tests.web_fixtures import make_run

from k9ops.ledger.claims import claim_run
from k9ops.web import live
from k9ops.web.accounts import remove_account
from k9ops.web.app import build_app
from k9ops.web.sessions import close_session, open_session
from k9ops.web.visit import SESSION_COOKIE, Desk

_LIMIT_S = 60.0


@pytest.fixture
def address(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    monkeypatch.setattr(live, "_PAUSE_S", 0.1)
    listener = socket.create_server(("127.0.0.1", 0))
    # So little that a browser which reads nothing is felt after a few events.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    config = uvicorn.Config(build_app(desk), log_config=None, access_log=False, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield listener.getsockname()
    server.should_exit = True
    thread.join()
    listener.close()


class Stream:
    """A browser on a live board, read as slowly as a test likes."""

    def __init__(self, address: tuple[str, int], cookie: str, board: str = "overview") -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.settimeout(_LIMIT_S)
        self._socket.connect(address)
        lines = (f"GET /live/{board} HTTP/1.1", "Host: dashboard", f"Cookie: {SESSION_COOKIE}={cookie}", "", "")
        self._socket.sendall("\r\n".join(lines).encode())
        self._read = b""

    def wait_for(self, words: str) -> str:
        """Read until words were seen, and return all that came since the last call."""
        while words.encode() not in self._read:
            received = self._socket.recv(65_536)
            assert received, f"closed before {words!r}: {self._read[-200:]!r}"
            self._read += received
        seen, self._read = self._read.decode("utf-8", "replace"), b""
        return seen

    def wait_for_end(self) -> None:
        """Read until the server ends the stream."""
        while b"\r\n0\r\n\r\n" not in self._read:
            received = self._socket.recv(65_536)
            if not received:
                return
            self._read += received
            assert self._read.count(b"event: board") < 50, "it goes on and on"

    def close(self) -> None:
        self._socket.close()


def test_update_arrives_in_the_language_of_each_browser(desk: Desk, address: tuple[str, int]) -> None:
    cookie = desk.signer.sign(open_session(desk.engine, "viewer", hours=1))
    with closing(Stream(address, cookie)) as stream:
        assert "text/event-stream" in stream.wait_for("event: board")
        run = make_run(desk)
        assert claim_run(desk.engine, run.id, owner="w", lease_s=3600, path="worker")
        assert "قيد التنفيذ" in stream.wait_for(f"/runs/{run.id}")


@pytest.mark.parametrize("end", ["logout", "removal"])
def test_stream_of_a_session_that_ended_is_closed(desk: Desk, address: tuple[str, int], end: str) -> None:
    token = open_session(desk.engine, "viewer", hours=1)
    cookie, other = desk.signer.sign(token), desk.signer.sign(open_session(desk.engine, "admin", hours=1))
    with closing(Stream(address, cookie)) as stream, closing(Stream(address, other)) as stays:
        stream.wait_for("event: board")
        if end == "logout":
            close_session(desk.engine, token)
        else:
            remove_account(desk.engine, "viewer", by="t", origin="t")
        stream.wait_for_end()
        stays.wait_for("event: board")
        stays.wait_for("event: board")


def test_browser_that_reads_nothing_holds_nobody_up(desk: Desk, address: tuple[str, int]) -> None:
    cookie = desk.signer.sign(open_session(desk.engine, "viewer", hours=1))
    run = make_run(desk)
    assert claim_run(desk.engine, run.id, owner="w", lease_s=3600, path="worker")
    sleepers = [Stream(address, cookie) for _ in range(3)]
    with closing(Stream(address, cookie)) as stream:
        for _ in range(40):
            stream.wait_for("event: board")
    for sleeper in sleepers:
        sleeper.close()


def test_many_browsers_cost_one_look(desk: Desk, address: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    cookie = desk.signer.sign(open_session(desk.engine, "viewer", hours=1))
    looks, statements = list[str](), list[str]()
    drawn = live.LiveBoards._draw

    def draw(boards: live.LiveBoards, board: str) -> dict[str, str]:
        looks.append(board)
        return drawn(boards, board)

    monkeypatch.setattr(live.LiveBoards, "_draw", draw)
    streams = [Stream(address, cookie, board) for board in ("overview", "queues") * 6]
    for stream in streams:
        stream.wait_for("event: board")

    def count(*context: Any) -> None:
        statements.append(context[2])

    event.listen(desk.engine, "before_cursor_execute", count)
    looks.clear()
    streams[0].wait_for("event: board")
    streams[0].wait_for("event: board")
    while len(looks) < 6:
        streams[0].wait_for("event: board")
    event.remove(desk.engine, "before_cursor_execute", count)
    for stream in streams:
        stream.close()
    assert abs(looks.count("overview") - looks.count("queues")) <= 1
    # Twelve browsers; were each drawn for itself, a round would cost six times as much.
    assert len(statements) / (len(looks) / 2) < 25
