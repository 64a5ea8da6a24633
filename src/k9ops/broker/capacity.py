"""How many messages a worker process may hold, so that none waits here while another process has nothing to do."""

from __future__ import annotations

import threading
import time

_BRISK_S = 0.25
_SLOW_S = 1.0
_WEIGHT = 0.2
_TURN_S = 0.05


class Capacity:
    """Counts the messages that this process has fetched and not yet given up.

    While its jobs are short, every queue may fetch ahead as Dramatiq does. While they are long, no more is fetched
    than there are free threads, and the queue whose jobs come first looks first when a thread becomes free.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._threads: int | None = None
        self._held = 0
        self._mean_s: float | None = None
        self._ranks: dict[str, int] = {}
        self._looked: dict[str, int] = {}
        self._openings = 0
        self._opened_at_s = 0.0

    def begin(self, threads: int | None) -> None:
        """Say how many threads execute jobs from now on, with no message yet; None lifts every limit."""
        with self._changed:
            self._threads = threads
            self._held = 0
            self._changed.notify_all()

    def set_rank(self, queue: str, rank: int) -> None:
        """Say whose turn comes first: the lower rank."""
        with self._changed:
            self._ranks[queue] = rank

    @property
    def is_full(self) -> bool:
        """Whether every thread has a message."""
        with self._changed:
            return self._is_full()

    def reserve(self, queue: str, wanted: int) -> int:
        """Take room for messages that are about to be fetched.

        Args:
            queue: Where they come from.
            wanted: At most this many, at least 0.

        Returns:
            How many may be fetched; `settle` must follow unless it is 0.
        """
        with self._changed:
            granted = wanted if self._threads is None or self._is_brisk() else self._find_room(queue, wanted)
            self._held += granted
            return granted

    def settle(self, queue: str, granted: int, fetched: int) -> None:
        """Give back the room that a fetch did not need."""
        with self._changed:
            self._looked[queue] = self._openings
            self._lower(granted - fetched)

    def release(self, count: int) -> bool:
        """Give back the room of messages that have left this process.

        Returns:
            True when a thread is free now and none was before.
        """
        with self._changed:
            is_opened = self._lower(count)
            if is_opened:
                self._openings += 1
                self._opened_at_s = time.monotonic()
            return is_opened

    def note_duration(self, duration_s: float) -> None:
        """Learn how long jobs take here."""
        with self._changed:
            before_s = duration_s if self._mean_s is None else self._mean_s
            self._mean_s = before_s + _WEIGHT * (duration_s - before_s)

    def note_stuck(self) -> None:
        """Learn that messages waited here: nothing is fetched ahead until several short jobs have ended."""
        with self._changed:
            self._mean_s = max(self._mean_s or 0.0, _SLOW_S)

    def wait_for_room(self, timeout_s: float) -> bool:
        """Wait until a thread is free; False when none is in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._is_full(), timeout_s)

    def _lower(self, count: int) -> bool:
        was_full = self._is_full()
        self._held -= count
        is_opened = was_full and not self._is_full()
        if is_opened:
            self._changed.notify_all()
        return is_opened

    def _is_full(self) -> bool:
        return self._threads is not None and self._held >= self._threads

    def _is_brisk(self) -> bool:
        return self._mean_s is not None and self._mean_s < _BRISK_S

    def _find_room(self, queue: str, wanted: int) -> int:
        rank = self._ranks.get(queue, 0)
        # A consumer that does not come in its turn, because it is being restarted, holds the others up for a moment.
        is_turn_over = time.monotonic() - self._opened_at_s > _TURN_S
        has_turn = is_turn_over or all(
            self._looked.get(other, 0) >= self._openings for other, its in self._ranks.items() if its < rank
        )
        return max(0, min(wanted, (self._threads or 0) - self._held)) if has_turn else 0
