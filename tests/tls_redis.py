"""A Redis that speaks TLS only, with users of its own: Debian's, since the embedded Valkey is built without TLS."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from socket import create_connection
from types import TracebackType
from typing import Self

from tests.certificates import Authority

from k9ops.embedded.places import own_account
from k9ops.embedded.process import DataLock, ServerProcess, start_on_free_port

# In Debian the server and the checker of its files are one program, and the package of the tools starts no service.
_PROGRAM = Path("/usr/bin/redis-check-rdb")
_CONFIG = """\
bind 127.0.0.1
port 0
tls-port {port}
tls-cert-file {certificate}
tls-key-file {key}
tls-ca-cert-file {ca}
tls-auth-clients {clients}
aclfile {users}
dir .
appendonly yes
save ""
maxmemory-policy noeviction
"""


class TlsRedis:
    """The server; its folder has its log."""

    def __init__(
        self,
        folder: Path,
        authority: Authority,
        *,
        users: str,
        asks_clients: bool = False,
        until: datetime | None = None,
    ) -> None:
        folder.mkdir()
        self._folder = folder
        self._authority = authority
        self._clients = "yes" if asks_clients else "no"
        (folder / "users.acl").write_text(users, encoding="ascii")
        (folder / "redis-server").symlink_to(_PROGRAM)
        self._files = authority.issue(f"redis-{folder.name}", until=until)
        self._lock = DataLock(folder / "lock")
        self.port = 0

    def __enter__(self) -> Self:
        self._lock.acquire()
        self._server, self.port = start_on_free_port(self._start_on, self._answers, name="Redis")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.stop()
        self._lock.release()

    def _start_on(self, port: int) -> ServerProcess:
        config = self._folder / "redis.conf"
        certificate, key = self._files
        config.write_text(
            _CONFIG.format(
                port=port,
                certificate=certificate,
                key=key,
                ca=self._authority.ca_file,
                clients=self._clients,
                users=self._folder / "users.acl",
            ),
            encoding="ascii",
        )
        return ServerProcess(
            [str(self._folder / "redis-server"), str(config)],
            cwd=self._folder,
            account=own_account(),
            log_path=self._folder / "log",
            environment={"PATH": "/usr/bin:/bin"},
            lock=self._lock,
        )

    def _answers(self, port: int) -> bool:
        try:
            create_connection(("127.0.0.1", port), timeout=5).close()
            return True
        except OSError:
            return False
