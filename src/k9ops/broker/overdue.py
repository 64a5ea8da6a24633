"""Runs whose job does not stop when it must: no thread can be killed, so their process ends, and another takes over."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

import dramatiq
from dramatiq.middleware.time_limit import TimeLimitExceeded

from k9ops.broker.conclude import record_conclusion
from k9ops.broker.jobs import describe_job
from k9ops.config.logging import get_logger
from k9ops.db.engine import get_engine
from k9ops.ledger.conclusion import Conclusion, conclude_error
from k9ops.ledger.execution import ActiveRun
from k9ops.process_tree import find_descendants

#: A job that was told by an exception that its time is over has this long to end.
HARD_LIMIT_GRACE_S = 30.0
#: A job that was asked to stop by a person has this long to end.
CANCEL_GRACE_S = 60.0
#: A job that has taken too much memory has this long to end.
MEMORY_GRACE_S = 2.0
#: The other jobs of the process have this long to put their runs back.
LEAVE_GRACE_S = 30.0
#: They have less when memory runs out meanwhile.
MEMORY_LEAVE_GRACE_S = 5.0

_EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: start it again
_LOG = get_logger("k9ops.broker")


class OverdueRuns:
    """Ends a worker process that has a job which does not stop.

    Args:
        broker: Knows the jobs.
    """

    def __init__(self, broker: dramatiq.Broker) -> None:
        self._broker = broker
        self._leaves_at_s: float | None = None
        self._is_worn_out = False

    @property
    def is_leaving(self) -> bool:
        """Whether the process is about to end; what it claims now would be lost with it."""
        return self._leaves_at_s is not None

    def wear_out(self) -> None:
        """Let the process be replaced, although no job is to blame."""
        self._is_worn_out = True

    def look_after(self, held: Sequence[ActiveRun]) -> None:
        """Begin to leave when a run is overdue; leave when only overdue runs are left, or the others take too long.

        Args:
            held: All runs of this process.
        """
        overdue = [active for active in held if is_overdue(active)]
        if not overdue and not self._is_worn_out:
            return
        if self._leaves_at_s is None:
            is_memory_short = any(active.stop_reason == "memory" for active in overdue)
            self._leaves_at_s = time.monotonic() + (MEMORY_LEAVE_GRACE_S if is_memory_short else LEAVE_GRACE_S)
            for active in overdue:
                run = active.claim.run
                _LOG.error("run.overdue", run_id=str(run.id), job=run.job, reason=active.stop_reason)
            os.kill(os.getpid(), signal.SIGTERM)  # Dramatiq stops fetching; the other jobs put their runs back
            return  # a claim that is on its way is held at the next look
        if len(overdue) == len(held) or time.monotonic() > self._leaves_at_s:
            self._leave(overdue, [active for active in held if active not in overdue and not active.has_ended])

    def _leave(self, overdue: Sequence[ActiveRun], others: Sequence[ActiveRun]) -> NoReturn:
        for process in find_descendants():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        for active in overdue:
            # What cannot be recorded now is rescued when its lease has run out.
            with contextlib.suppress(Exception):
                self._record(active)
        for active in others:
            with contextlib.suppress(Exception):
                self._put_back(active)
        _LOG.error("worker.replaced", runs=len(overdue))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_EXIT_CODE)

    def _record(self, active: ActiveRun) -> None:
        run = active.claim.run
        job = describe_job(self._broker.get_actor(run.job))
        is_time_limit = active.stop_reason not in ("cancelled", "memory")
        error = TimeLimitExceeded() if is_time_limit else active.as_interruption()
        conclusion = conclude_error(error, active, job.retries, is_time_limit=is_time_limit)
        message = f"{conclusion.message} It did not stop, and its process was ended."
        record_conclusion(get_engine(), self._broker, active, replace(conclusion, message=message))

    def _put_back(self, active: ActiveRun) -> None:
        active.request_stop("shutdown")
        conclusion = Conclusion("put_back", "", "Its worker was ended because of another run.")
        record_conclusion(get_engine(), self._broker, active, conclusion)


def is_overdue(active: ActiveRun) -> bool:
    """Tell whether a job has not stopped when it had to.

    One that has ended is not: while PostgreSQL is away its outcome waits to be recorded, and must not be lost.
    """
    now_s = time.monotonic()
    if active.has_ended:
        return False
    if active.stop_reason == "cancelled" and now_s > active.stop_requested_s + CANCEL_GRACE_S:
        return True
    if active.stop_reason == "memory" and now_s > active.stop_requested_s + MEMORY_GRACE_S:
        return True
    return active.hard_deadline_s is not None and now_s > active.hard_deadline_s + HARD_LIMIT_GRACE_S
