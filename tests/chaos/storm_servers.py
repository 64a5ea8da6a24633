"""A Redis and a PostgreSQL that may be killed, stopped and started again, each behind proxies."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import redis
from tests.processes import wait_for

from k9ops.embedded.postgres import PostgresServer, wheel_bin_dir
from k9ops.embedded.process import find_free_port
from k9ops.embedded.valkey import wheel_binary
from k9ops.errors import EmbeddedServerFailed

BROKER_DATABASE = 1

# A server that is killed loses nothing that it has confirmed; only a machine that loses power would.
_OPTIONS = {"fsync": "off", "full_page_writes": "off", "max_connections": "60", "superuser_reserved_connections": "5"}


class StormRedis:
    """A server that keeps its port, and its data unless told otherwise."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.port = find_free_port()
        self._folder = folder
        self._command = [str(wheel_binary()), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._command += ["--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--repl-diskless-load"]
        self._command += ["disabled"]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return when it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, start_new_session=True)
        wait_for(self._answers)

    def kill(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def forget(self) -> None:
        """Delete the data of a server that was killed."""
        shutil.rmtree(self._folder)
        self._folder.mkdir()

    def send_signal(self, number: int) -> None:
        """Stop or continue it, for example."""
        assert self._process is not None
        self._process.send_signal(number)

    def ask(self, *command: Any) -> Any:
        """Send one command directly, past every proxy."""
        with redis.Redis(port=self.port, socket_timeout=30) as client:
            return client.execute_command(*command)

    def ask_broker(self, *command: Any) -> Any:
        """Send one command to the database of the messages, past every proxy."""
        with redis.Redis(port=self.port, db=BROKER_DATABASE, socket_timeout=30) as client:
            return client.execute_command(*command)

    def count_keys(self, database: int, pattern: str) -> dict[str, int]:
        """Return the lists of a database with their lengths."""
        with redis.Redis(port=self.port, db=database, decode_responses=True, socket_timeout=30) as client:
            return {key: int(client.llen(key)) for key in client.scan_iter(pattern) if client.type(key) == "list"}

    def _answers(self) -> bool:
        try:
            return bool(self.ask("PING"))
        except redis.RedisError:
            return False


class StormPostgres:
    """A cluster that has another port after each start."""

    def __init__(self, folder: Path) -> None:
        self._server = PostgresServer(folder, bin_dir=wheel_bin_dir(), options=_OPTIONS)

    def start(self) -> None:
        """Start it, and return when it answers."""
        self._server.start()

    def stop(self, number: int = signal.SIGINT) -> None:
        """Stop it: SIGINT ends its sessions in order, SIGQUIT as a crash does."""
        if self._server.is_running:
            os.kill(self._server.pid, number)
        self._server.stop()

    @property
    def url(self) -> str:
        """Of the server itself, past every proxy."""
        return self._server.url

    @property
    def port(self) -> int:
        """See `url`."""
        return int(self.url.rpartition(":")[2].partition("/")[0])

    def url_by_port(self, port: int) -> str:
        """Return the URL by which a proxy is reached."""
        head, _, tail = self.url.rpartition(":")
        return f"{head}:{port}/{tail.partition('/')[2]}"

    def ask(self, statement: str, values: Any = None) -> list[tuple[Any, ...]]:
        """Execute one statement past every proxy and though the server is read-only; wait while it is away."""
        return list(wait_for(lambda: self._try(statement, values))[0])

    def _try(self, statement: str, values: Any) -> tuple[list[tuple[Any, ...]]] | None:
        options = "-c default_transaction_read_only=off"
        try:
            with psycopg.connect(self.url, autocommit=True, options=options) as connection:
                cursor = connection.execute(statement, values)
                return (cursor.fetchall() if cursor.description else [],)
        except (psycopg.OperationalError, EmbeddedServerFailed):
            return None
