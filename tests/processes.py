"""What the tests of real processes share: start a worker, wait for an event."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DEADLINE_S = 60


@contextmanager
def worker_process(
    module: str, environment: dict[str, str], *, log: Path | None = None, threads: int = 1
) -> Iterator[subprocess.Popen[bytes]]:
    """Start `dramatiq MODULE` with one process, in a session of its own; stop it at the end."""
    command = [sys.executable, "-m", "dramatiq", module, "-p", "1", "-t", str(threads)]
    with (log or Path(os.devnull)).open("ab") as out:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=out,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end_session(process)


def end_session(process: subprocess.Popen[bytes]) -> None:
    """Ask the leader of a session to end; if it does not, kill all of the session."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(DEADLINE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(condition: Callable[[], Any], deadline_s: float = DEADLINE_S) -> Any:
    """Return the first true value of a condition; fail when there is none in time."""
    ends_at_s = time.monotonic() + deadline_s
    while time.monotonic() < ends_at_s:
        value = condition()
        if value:
            return value
        threading.Event().wait(0.02)
    raise AssertionError(f"it did not happen within {deadline_s} s")
