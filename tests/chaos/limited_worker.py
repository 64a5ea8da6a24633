"""The product's worker with jobs that do not stop when they must."""

from __future__ import annotations

import os
import subprocess
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


@dramatiq.actor(queue_name="limits", max_retries=0, time_limit=1_000)
def sleep_in_c(*, folder: str) -> Outcome:
    """Sleep through its limit, with a child that has a child in a session of its own."""
    script = "setsid sleep 600 & echo $! > grandchild; echo $$ > child; sleep 600"
    subprocess.Popen(["/bin/sh", "-c", script], cwd=folder, start_new_session=True)
    time.sleep(600)
    return Outcome("succeeded", "Slept.", {"slept": True})


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
