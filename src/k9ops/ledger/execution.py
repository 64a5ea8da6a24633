"""A claimed run while this process executes it: why it must stop, how far it is."""

from __future__ import annotations

import contextvars
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Collection
from typing import Any

from k9ops.config.logging import listen_to_log
from k9ops.errors import MemoryLimitExceeded, RunInterrupted
from k9ops.ledger.claims import Claim
from k9ops.ledger.run_log import LogTail
from k9ops.outcome import Execution

_REASONS = {
    "shutdown": "The worker is shutting down.",
    "time_limit": "The run took longer than its time limit.",
    "lease_lost": "Another process holds this run now.",
    "cancelled": "The run was cancelled.",
}

_DOUBT_PAUSE_S = 0.05

_current: contextvars.ContextVar[ActiveRun | None] = contextvars.ContextVar("k9ops_active_run", default=None)


def make_owner_name() -> str:
    """Return a name for this process that no other process has, now or later."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


class ActiveRun:
    """A claim that this process is working on.

    Args:
        claim: The claim.
        soft_limit_s: After this many seconds the job is asked to stop; None is no limit.
        hard_limit_s: After this many seconds an exception ends it; None is no limit.
        held_until_s: On this process's monotonic clock, no later than the lease runs out; None is for ever.
        on_progress: Told (done, total, unit) at once, in the job's thread.
        private_params: Names of parameters whose values no log line may have.

    Attributes:
        log: What it has logged, and is not stored yet.
        thread_id: The thread that executes it, as of `threading.get_native_id`.
        has_ended: Whether the job has returned or raised; what is left is to record that, however long it takes.
    """

    def __init__(
        self,
        claim: Claim,
        *,
        soft_limit_s: float | None,
        hard_limit_s: float | None = None,
        held_until_s: float | None = None,
        on_progress: Callable[[int, int, str], None] | None = None,
        private_params: Collection[str] = (),
    ) -> None:
        self.claim = claim
        run = claim.run
        self.log = LogTail(attempt=run.attempt, params=run.params, private_params=private_params)
        self.started_monotonic_s = time.monotonic()
        self._deadline_s = None if soft_limit_s is None else self.started_monotonic_s + soft_limit_s
        self.hard_deadline_s = None if hard_limit_s is None else self.started_monotonic_s + hard_limit_s
        self.stop_requested_s = 0.0
        self.thread_id = threading.get_native_id()
        self.has_ended = False
        self._memory_mb = (0, 0)
        self._held_until_s = held_until_s
        self._stop_reason: str | None = None
        self._progress: dict[str, Any] | None = None
        self._on_progress = on_progress
        self._lock = threading.Lock()

    def request_stop(self, reason: str) -> None:
        """Ask the job to stop; the first reason holds, except that a lost lease outranks all."""
        with self._lock:
            if self._stop_reason is None or reason == "lease_lost":
                self._stop_reason = reason
                self.stop_requested_s = time.monotonic()

    def note_memory(self, used_mb: int, limit_mb: int) -> None:
        """Ask the job to stop, as it has taken its process beyond its memory limit."""
        self._memory_mb = (used_mb, limit_mb)
        self.request_stop("memory")

    def note_renewal(self, held_until_s: float) -> None:
        """Learn that the lease holds until then."""
        self._held_until_s = held_until_s

    @property
    def stop_reason(self) -> str | None:
        """Why the job must stop, None while it may go on."""
        if self._stop_reason is None and self._deadline_s is not None and time.monotonic() > self._deadline_s:
            self.request_stop("time_limit")
        return self._stop_reason

    def check_stop(self) -> None:
        """Raise `RunInterrupted` when the job must stop.

        A process that was stopped or cut off past its lease cannot know whether another holds the run by now. This
        waits then until the lease is renewed or known to be lost.
        """
        while self._is_in_doubt() and self.stop_reason is None:
            time.sleep(_DOUBT_PAUSE_S)
        if self.stop_reason is not None:
            raise self.as_interruption()

    def _is_in_doubt(self) -> bool:
        return self._held_until_s is not None and time.monotonic() > self._held_until_s

    def as_interruption(self) -> RunInterrupted:
        """Return the error that says why the job must stop."""
        reason = self.stop_reason or "shutdown"
        if reason == "memory":
            return MemoryLimitExceeded.of(*self._memory_mb)
        return RunInterrupted(_REASONS[reason], reason=reason)

    def report_progress(self, done: int, total: int, unit: str) -> None:
        """Keep how far the job is; the keeper stores it."""
        with self._lock:
            self._progress = {"done": done, "total": total, "unit": unit}
        if self._on_progress is not None:
            self._on_progress(done, total, unit)

    def take_progress(self) -> dict[str, Any] | None:
        """Return progress that has not been taken yet."""
        with self._lock:
            progress, self._progress = self._progress, None
        return progress

    def execution(self) -> Execution:
        """Return what the job is given of this."""
        run = self.claim.run
        return Execution(run.id, run.created_at, self.check_stop, self.report_progress, run.requested_by)


def set_current(active: ActiveRun | None) -> None:
    """Say which run this thread executes; what it logs is collected for the run."""
    _current.set(active)
    listen_to_log(active.log.add if active else None)


def current_run() -> ActiveRun | None:
    """Return the run that this thread executes, None outside of one."""
    return _current.get()


def current_execution() -> Execution:
    """Return this thread's execution; outside of a recorded run, one with a fresh id that never stops."""
    active = _current.get()
    return active.execution() if active else Execution()
