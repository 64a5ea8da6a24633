"""A server as a child process: on a free port, alone on its data, and gone when its parent is gone."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path

from k9ops.embedded import launch
from k9ops.embedded.places import Account
from k9ops.errors import EmbeddedServerFailed

_POLL_S = 0.02
_LOCK_WAIT_S = 5.0
_START_LIMIT_S = 60.0
_PORT_ATTEMPTS = 5
_STOP_STEPS = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))


class DataLock:
    """The right to run a server on a data folder.

    The server inherits the locked file (flock(2)), so the right lasts until the last of both processes has gone,
    however they ended.

    Args:
        path: The lock file; it stays when the lock is released.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.fd = -1

    def acquire(self) -> None:
        """Take the lock, waiting a little for a server that is on its way out.

        Raises:
            EmbeddedServerFailed: Another server runs on the same data.
        """
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + _LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(fd)
                    raise EmbeddedServerFailed(
                        f"A server is already running on {self._path.with_suffix('')}: stop it first."
                    ) from None
                time.sleep(_POLL_S)
            else:
                self.fd = fd
                return

    def release(self) -> None:
        """Give up this process's part of the lock."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class ServerProcess:
    """One running server.

    Args:
        command: Absolute path of the binary and its arguments.
        cwd: Working directory.
        account: Whom the server runs as.
        log_path: Takes the server's standard output and error, appended.
        environment: The server's whole environment.
        lock: Inherited by the server.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        account: Account,
        log_path: Path,
        environment: dict[str, str],
        lock: DataLock,
    ) -> None:
        self._exited = threading.Event()
        self._log_path = log_path
        with log_path.open("ab") as log:
            self._log_offset = log.tell()
            arguments = [str(os.getpid()), str(account.uid), str(account.gid), *command]
            self._process = self._start_and_wait_aside(
                lambda: subprocess.Popen(
                    [sys.executable, "-I", "-S", launch.__file__, *arguments],
                    cwd=cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    pass_fds=(lock.fd,),
                    start_new_session=True,
                )
            )

    def _start_and_wait_aside(self, start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        """Start the child from a thread that lives as long as the child.

        The kernel's "parent" of `PR_SET_PDEATHSIG` is the thread that forked, not its process: started by a
        thread that ends early the server would end with it.
        """
        started: Future[subprocess.Popen[bytes]] = Future()

        def run() -> None:
            try:
                process = start()
            except BaseException as exc:
                started.set_exception(exc)
                return
            started.set_result(process)
            process.wait()
            self._exited.set()

        threading.Thread(target=run, name="embedded-server", daemon=True).start()
        return started.result()

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    def has_exited(self, *, within_s: float = 0.0) -> bool:
        """Tell whether the server has ended, waiting up to `within_s` for it."""
        return self._exited.wait(within_s)

    def read_log(self) -> str:
        """Return what the server has written since it was started."""
        with self._log_path.open("rb") as log:
            log.seek(self._log_offset)
            return log.read().decode(errors="replace")

    def wait_ready(self, is_ready: Callable[[], bool]) -> None:
        """Ask until the server is ready.

        Raises:
            EmbeddedServerFailed: It ended, or was not ready within a minute.
        """
        deadline = time.monotonic() + _START_LIMIT_S
        while True:
            if self.has_exited(within_s=_POLL_S):
                raise EmbeddedServerFailed("The server ended while it started.")
            if is_ready():
                return
            if time.monotonic() > deadline:
                raise EmbeddedServerFailed(f"The server was not ready after {_START_LIMIT_S:.0f} s.")

    def stop(self) -> None:
        """End the server, first by its own fast shutdown and then by force; harmless when it has ended."""
        for signal_number, limit_s in _STOP_STEPS:
            if self.has_exited():
                return
            self._process.send_signal(signal_number)
            if self.has_exited(within_s=limit_s):
                return


def find_free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody used a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start_on_free_port(
    start: Callable[[int], ServerProcess], is_ready: Callable[[int], bool], *, name: str
) -> tuple[ServerProcess, int]:
    """Start a server on a free port, and on another one when somebody else was faster.

    Args:
        start: Starts the server on a port.
        is_ready: Tells whether the server answers on a port.
        name: What a person calls the server.

    Raises:
        EmbeddedServerFailed: It does not start; the message ends with the server's own last words.
    """
    attempts_left = _PORT_ATTEMPTS
    while True:
        port = find_free_port()
        server = start(port)
        try:
            server.wait_ready(partial(is_ready, port))
            return server, port
        except BaseException as exc:
            server.stop()
            if not isinstance(exc, EmbeddedServerFailed):
                raise
            log = server.read_log()
            attempts_left -= 1
            if "Address already in use" not in log or not attempts_left:
                reason = f"{name} did not start. {exc.user_message} {_last_words(log)}".rstrip()
                raise EmbeddedServerFailed(reason, log=log) from exc


def _last_words(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    grave = [line for line in lines if "FATAL" in line or "PANIC" in line or "rror" in line]
    return (grave or lines or [""])[-1]
