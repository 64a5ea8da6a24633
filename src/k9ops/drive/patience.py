"""Waiting between two tries of a chunk: doubled each time, drawn by chance, and ended when the run must stop."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from k9ops.outcome import Execution

_POLL_S = 0.25


@dataclass(frozen=True)
class Patience:
    """How often a chunk is tried again, and how long apart.

    Attributes:
        max_failures: Failures in a row, without a byte gained, after which the run's own retries take over.
        base_s: Wait after the first.
        longest_s: Longest wait; a drive that asks for more ends the attempt.
        sleep: Waits so many seconds.
    """

    max_failures: int = 6
    base_s: float = 0.5
    longest_s: float = 32.0
    sleep: Callable[[float], None] = time.sleep

    def plan_wait(self, failures: int, retry_after_s: float | None, random_unit: float) -> float:
        """Return the wait after a number of failures in a row; never less than the drive asked for.

        Args:
            failures: From 1.
            retry_after_s: What the drive asked for.
            random_unit: 0 to 1, for the jitter.
        """
        full_s: float = min(self.longest_s, self.base_s * 2.0 ** (failures - 1))
        return max(retry_after_s or 0.0, full_s * (0.5 + random_unit / 2))

    def wait(self, failures: int, retry_after_s: float | None, execution: Execution) -> None:
        """Wait, and stop waiting when the run must stop.

        Raises:
            RunInterrupted: It must.
        """
        left_s = self.plan_wait(failures, retry_after_s, random.random())  # noqa: S311 - jitter
        execution.check_stop()
        while left_s > 0:
            self.sleep(min(_POLL_S, left_s))
            left_s -= _POLL_S
            execution.check_stop()
