"""A worker process that takes too much memory: which of its runs did that, so that only this one ends for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping

from k9ops.config.logging import get_logger
from k9ops.errors import MemoryLimitExceeded, RunInterrupted
from k9ops.ledger.execution import ActiveRun
from k9ops.process_memory import PAGE_MB, read_faults, read_resident_mb

_LOG = get_logger("k9ops.broker")

_POLL_S = 0.25
# What is asked for at once is refused from here on, in the thread that asks: no look comes in time for it.
_WALL_PART = 1.5
# A thread's stack counts as data although it is hardly used; a worker has some threads beside those for runs.
_STACK_MB = 8
_OTHER_THREADS = 24
_LEAST_PART = 0.5
# What a job has just let go takes a moment to be given back.
_WORN_OUT_LOOKS = 8


class MemoryShares:
    """Who made a process grow; pure.

    Args:
        resident_mb: The memory of the process before its first run.
    """

    def __init__(self, resident_mb: float) -> None:
        self._base_mb = self._resident_mb = resident_mb
        self._faults: dict[int, int] = {}
        self._shares_mb: dict[str, float] = {}

    def note(self, resident_mb: float, faults: Mapping[int, int], runs: Mapping[str, int]) -> None:
        """Divide what the process has grown by among its runs; what it has shrunk by is taken from all.

        Args:
            resident_mb: Its memory now.
            faults: How often each thread was the first to touch a page, so far.
            runs: The thread of each run.
        """
        growth_mb = resident_mb - self._resident_mb
        shares = {run: self._shares_mb.get(run, 0.0) for run in runs}
        if growth_mb < 0:
            kept = max(0.0, resident_mb - self._base_mb) / max(PAGE_MB, self._resident_mb - self._base_mb)
            shares = {run: share * min(1.0, kept) for run, share in shares.items()}
        elif runs:
            touched = {run: self._count_since(thread, faults) * PAGE_MB for run, thread in runs.items()}
            part = min(1.0, growth_mb / max(PAGE_MB, sum(touched.values())))
            # Threads that a job has started, or huge pages: nobody knows whose.
            rest_mb = max(0.0, growth_mb - sum(touched.values())) / len(runs)
            shares = {run: share + touched[run] * part + rest_mb for run, share in shares.items()}
        self._shares_mb, self._faults, self._resident_mb = shares, dict(faults), resident_mb

    def find_largest(self) -> str | None:
        """Return the run that has taken most; None when the process had grown before its present runs."""
        grown_mb = self._resident_mb - self._base_mb
        if sum(self._shares_mb.values()) < grown_mb * _LEAST_PART:
            return None
        return max(self._shares_mb, key=lambda run: self._shares_mb[run], default=None)

    def _count_since(self, thread: int, faults: Mapping[int, int]) -> int:
        now = faults.get(thread, 0)
        return max(0, now - self._faults.get(thread, now))


class MemoryWatch(threading.Thread):
    """Looks at the memory of a worker process, and asks the run that took it beyond its limit to stop.

    Args:
        limit_mb: The limit.
        find_held: Returns the runs of this process.
        find_threads: Returns the threads that execute runs, as of `threading.get_native_id`.
        wear_out: Called when no run is to blame; the process is to be replaced.
    """

    def __init__(
        self,
        limit_mb: int,
        *,
        find_held: Callable[[], Collection[ActiveRun]],
        find_threads: Callable[[], Collection[int]],
        wear_out: Callable[[], None],
    ) -> None:
        super().__init__(name="k9ops-memory", daemon=True)
        self._limit_mb = limit_mb
        self._find_held, self._find_threads, self._wear_out = find_held, find_threads, wear_out
        self._shares = MemoryShares(read_resident_mb())
        self._worn_out_looks = 0
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stopped.set()
        self.join()

    def run(self) -> None:
        """Look until stopped."""
        while not self._stopped.wait(_POLL_S):
            self._look()

    def explain(self, error: BaseException | None, active: ActiveRun) -> BaseException | None:
        """Return the error that says why memory was refused to a run; another error, or none, as it is.

        In a process that has too much already, memory is refused to whoever asks next: only the run that took most is
        to blame then, the others make way for it.
        """
        if not isinstance(error, MemoryError):
            return error
        used_mb, largest = self._find_largest()
        if active.stop_reason == "shutdown" or (used_mb > self._limit_mb and largest is not active):
            return RunInterrupted("The worker had no memory left because of another run.", reason="shutdown")
        return MemoryLimitExceeded.of(round(used_mb), self._limit_mb)

    def _find_largest(self) -> tuple[float, ActiveRun | None]:
        with self._lock:
            resident_mb = read_resident_mb()
            held = {active.claim.owner: active for active in self._find_held()}
            threads = {name: active.thread_id for name, active in held.items()}
            self._shares.note(resident_mb, read_faults({*self._find_threads(), *threads.values()}), threads)
            return resident_mb, held.get(self._shares.find_largest() or "")

    def _look(self) -> None:
        resident_mb, largest = self._find_largest()
        is_above = resident_mb > self._limit_mb
        self._worn_out_looks = self._worn_out_looks + 1 if is_above and largest is None else 0
        if is_above and largest and not any(active.stop_reason == "memory" for active in self._find_held()):
            largest.note_memory(round(resident_mb), self._limit_mb)
        elif self._worn_out_looks == _WORN_OUT_LOOKS:
            _LOG.warning("worker.worn_out", used_mb=round(resident_mb), limit_mb=self._limit_mb)
            self._wear_out()


def wall_of(limit_mb: int, *, threads: int) -> float:
    """Return how much data a worker with this limit and so many threads for runs may have, whoever asks for it."""
    return limit_mb * _WALL_PART + (threads + _OTHER_THREADS) * _STACK_MB
