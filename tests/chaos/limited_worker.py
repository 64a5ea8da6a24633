"""The product's worker with jobs that do not stop when they must."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import dramatiq

from k9ops.actors import broker
from k9ops.broker import overdue
from k9ops.ledger.execution import current_execution
from k9ops.outcome import Outcome

__all__ = ["broker"]

overdue.HARD_LIMIT_GRACE_S = 0.5
overdue.CANCEL_GRACE_S = 0.5
overdue.MEMORY_GRACE_S = 0.5

_BITE_BYTES = 8 * 1024 * 1024
_TOO_MUCH_BYTES = 1024 * 1024 * 1024


@dramatiq.actor(queue_name="limits", max_retries=0, time_limit=1_000)
def sleep_in_c(*, folder: str) -> Outcome:
    """Sleep through its limit, with a child that has a child in a session of its own."""
    script = "setsid sleep 600 & echo $! > grandchild; echo $$ > child; sleep 600"
    subprocess.Popen(["/bin/sh", "-c", script], cwd=folder, start_new_session=True)
    time.sleep(600)
    return Outcome("succeeded", "Slept.", {"slept": True})


@dramatiq.actor(queue_name="limits", max_retries=0, time_limit=600_000)
def eat_memory(*, folder: str) -> Outcome:
    """Take more and more memory, with a child that has a child, and never stop."""
    subprocess.Popen(["/bin/sh", "-c", "sleep 600 & echo $! > grandchild; wait"], cwd=folder, start_new_session=True)
    while not (Path(folder) / "grandchild").exists():
        time.sleep(0.02)
    eaten = []
    while True:
        with contextlib.suppress(MemoryError):
            eaten.append(os.urandom(1) * _BITE_BYTES)
        time.sleep(0.02)


@dramatiq.actor(queue_name="limits", max_retries=0, time_limit=600_000)
def eat_memory_until_asked(*, folder: str) -> Outcome:
    """Take more and more memory, and stop when asked."""
    eaten = []
    while True:
        current_execution().check_stop()
        eaten.append(os.urandom(1) * _BITE_BYTES)
        time.sleep(0.05)


@dramatiq.actor(queue_name="limits", max_retries=0, time_limit=600_000)
def start_eater(*, folder: str) -> Outcome:
    """Start a program that wants more memory than a worker may have."""
    command = [sys.executable, "-ISc", f"b'x' * {_TOO_MUCH_BYTES}"]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    return Outcome("succeeded", "It ended.", {"code": child.returncode, "said": child.stderr.split()[-1]})


@dramatiq.actor(queue_name="limits", max_retries=0, time_limit=600_000)
def ignore_cancellation(*, folder: str) -> Outcome:
    """Sleep on when its run is cancelled."""
    (Path(folder) / "asleep").write_text(str(os.getpid()))
    time.sleep(600)
    return Outcome("succeeded", "Slept.", {"slept": True})


@dramatiq.actor(queue_name="limits", max_retries=0, time_limit=600_000)
def wait_for_file(*, folder: str) -> Outcome:
    """Be at work until a file is there, and stop when asked."""
    execution = current_execution()
    (Path(folder) / "waiting").touch()
    while not (Path(folder) / "finish").exists():
        execution.check_stop()
        time.sleep(0.02)
    return Outcome("succeeded", "Found.", {"found": True})
