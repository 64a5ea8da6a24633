"""The product's worker with jobs that meet their limits, which are short here; what follows is left as it is."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path

import dramatiq
from tests.processes import wait_for

from k9ops.actors import broker
from k9ops.ledger.execution import current_execution
from k9ops.outcome import Outcome

__all__ = ["broker"]


@dramatiq.actor(queue_name="limits", max_retries=0, soft_limit=50, time_limit=600_000, is_audited=False)
def heed_soft_limit(*, number: int) -> Outcome:
    """Stop when asked."""
    while True:
        current_execution().check_stop()
        threading.Event().wait(0.02)


@dramatiq.actor(queue_name="limits", max_retries=0, soft_limit=50, time_limit=100, is_audited=False)
def ignore_soft_limit(*, number: int) -> Outcome:
    """Go on until an exception ends it."""
    while True:
        threading.Event().wait(0.02)


@dramatiq.actor(queue_name="limits", max_retries=0, soft_limit=50, time_limit=600_000, is_audited=False)
def wait_for_child(*, number: int) -> Outcome:
    """Wait for a child that has a child, and end both when asked to stop."""
    child = subprocess.Popen(["/bin/sh", "-c", "sleep 600 & wait"], start_new_session=True)
    try:
        while child.poll() is None:
            current_execution().check_stop()
            threading.Event().wait(0.02)
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    return Outcome("failed", "The child ended.")


@dramatiq.actor(queue_name="limits", max_retries=0, time_limit=600_000, is_audited=False)
def ask_for_too_much(*, number: int) -> Outcome:
    """Want more memory at once than a worker may have."""
    return Outcome("failed", f"It has {len(bytearray(4 << 30))} bytes.")


@dramatiq.actor(queue_name="limits", max_retries=0, time_limit=600_000, is_audited=False)
def meet(*, folder: str, number: int, count: int) -> Outcome:
    """Wait until so many are here at the same time."""
    (Path(folder) / f"here-{number}").touch()
    wait_for(lambda: len(list(Path(folder).glob("here-*"))) >= count)
    return Outcome("succeeded", "All were here.", {"count": count})
