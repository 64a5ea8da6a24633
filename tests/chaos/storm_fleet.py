"""The processes of a storm, and who starts them again, as a service manager does."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.processes import ROOT

_PAUSE_S = 0.1
_STOP_S = 60
MARK = "K9OPS_STORM"


class Member:
    """One process with all that it starts, in a session of its own.

    Args:
        command: After the interpreter.
        environment: Its variables beside those of this process.
        log: Takes its standard output and error, appended.
    """

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self._command, self._environment, self._log = command, environment, log
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def start(self) -> None:
        """Start it."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self._command],
                cwd=ROOT,
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.starts += 1

    def send(self, number: int) -> None:
        """Send a signal to the process and all of its session."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def ask_to_end(self) -> None:
        """Send SIGTERM to the process alone, as service managers do."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def wait(self) -> None:
        """Wait for its end; kill what does not end."""
        if self.process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_STOP_S)
        self.send(signal.SIGKILL)
        self.process.wait()

    def children(self) -> list[int]:
        """Return the process ids of the session's members beside the first."""
        return [pid for pid, session in find_sessions() if self.process and session == self.process.pid != pid]


class Fleet:
    """Members, each of which is started again when it ends; what is left of its session is killed first."""

    def __init__(self, members: dict[str, Member]) -> None:
        self.members = members
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._look_after, name="fleet", daemon=True)

    def start(self) -> None:
        """Start all."""
        for member in self.members.values():
            member.start()
        self._thread.start()

    def dismiss(self, name: str) -> None:
        """End a member for good."""
        with self._lock:
            member = self.members.pop(name)
        member.send(signal.SIGKILL)
        member.wait()

    def stop(self) -> None:
        """End all in order."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        for member in self.members.values():
            member.send(signal.SIGCONT)
            member.ask_to_end()
        for member in self.members.values():
            member.wait()

    def _look_after(self) -> None:
        while not self._stopped.wait(_PAUSE_S):
            with self._lock:
                for member in self.members.values():
                    if member.process is not None and member.process.poll() is not None:
                        member.send(signal.SIGKILL)
                        member.start()


def find_sessions() -> Iterator[tuple[int, int]]:
    """Yield the process ids of this machine, each with its session."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
                if state not in ("Z", "X"):
                    yield int(folder.name), int(session)


def find_marked(variable: str) -> list[int]:
    """Return the processes that a storm has started, however they were orphaned, by what begins a variable."""
    wanted = variable.encode()
    found = []
    for pid, _ in find_sessions():
        with contextlib.suppress(OSError):
            if any(item.startswith(wanted) for item in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")):
                found.append(pid)
    return found
