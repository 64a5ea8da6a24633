"""The product's worker with jobs that note which claim they belong to."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import dramatiq

from k9ops.actors import broker
from k9ops.ledger.execution import current_execution, current_run
from k9ops.outcome import Outcome

__all__ = ["broker"]

_POLL_S = 0.02


@dramatiq.actor(queue_name="leases", max_retries=5)
def write_when_told(*, folder: str) -> Outcome:
    """Wait for a file without a check, as in a long call, then check and write."""
    owner = _note(Path(folder) / "begun")
    while not (Path(folder) / "go").exists():
        threading.Event().wait(_POLL_S)
    current_execution().check_stop()
    _note(Path(folder) / "written")
    return Outcome("succeeded", "Written.", {"owner": owner})


@dramatiq.actor(queue_name="leases", max_retries=5)
def end_when_told(*, folder: str) -> Outcome:
    """Wait for a file without any check."""
    owner = _note(Path(folder) / "begun")
    while not (Path(folder) / "told").exists():
        threading.Event().wait(_POLL_S)
    return Outcome("succeeded", "Ended.", {"owner": owner})


@dramatiq.actor(queue_name="leases", max_retries=5)
def stay_at_work(*, folder: str, number: int) -> Outcome:
    """Be at work, with a check now and then, until a file is there."""
    owner = _note(Path(folder) / f"begun-{number}")
    execution = current_execution()
    while not (Path(folder) / "go").exists():
        execution.check_stop()
        threading.Event().wait(_POLL_S)
    return Outcome("succeeded", "Done.", {"owner": owner})


@dramatiq.actor(queue_name="leases", max_retries=5)
def pass_by(*, folder: str) -> Outcome:
    """Be short."""
    return Outcome("succeeded", "Done.", {"owner": _note(Path(folder) / "passed")})


@dramatiq.actor(queue_name="leases", max_retries=5)
def be_busy(*, folder: str) -> Outcome:
    """Take a second."""
    owner = _note(Path(folder) / "busy")
    threading.Event().wait(1)
    return Outcome("succeeded", "Done.", {"owner": owner})


@dramatiq.actor(queue_name="leases", max_retries=5)
def kill_worker(*, folder: str) -> Outcome:
    """Take the worker process down each time, when others have begun beside it."""
    _note(Path(folder) / "killed")
    threading.Event().wait(0.3)
    os.kill(os.getpid(), signal.SIGKILL)
    return Outcome("failed", "It did not die.")


def _note(path: Path) -> str:
    active = current_run()
    assert active is not None
    with path.open("a", encoding="ascii") as file:
        file.write(f"{active.claim.owner}\n")
    return active.claim.owner
