"""The product's worker with a job that a test holds, and one that is done at once."""

from __future__ import annotations

import os
import time
from pathlib import Path

import dramatiq

from k9ops.actors import broker
from k9ops.ledger.execution import current_execution
from k9ops.outcome import Outcome

__all__ = ["broker"]

HOST = os.environ["K9OPS_TEST_HOST"]


@dramatiq.actor(queue_name="hosts", max_retries=3, time_limit=600_000)
def hold(*, folder: str) -> Outcome:
    """Be at work until this host may finish; then say on which host that was."""
    execution = current_execution()
    begun = Path(folder) / f"begun-{HOST}-{execution.run_id}"
    begun.touch()
    while not (Path(folder) / f"finish-{HOST}-{execution.run_id}").exists():
        execution.check_stop()
        time.sleep(0.02)
    begun.with_name(f"done-{HOST}-{execution.run_id}").touch()
    return Outcome("succeeded", f"Done on {HOST}.", {"host": HOST})


@dramatiq.actor(queue_name="hosts", max_retries=3, time_limit=600_000)
def note_host() -> Outcome:
    """Say on which host this is."""
    return Outcome("succeeded", f"Done on {HOST}.", {"host": HOST})
