"""A circuit breaker, so that a Redis that is away costs a web request little, and only one of them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from k9ops.config.logging import get_logger

_LOG = get_logger("k9ops.broker")

_PROBE_PAUSE_S = 1.0


class CircuitBreaker:
    """Remembers that Redis is away, and finds out in a thread of its own when it is back.

    A forked child, which has no such thread, finds out for itself.

    Args:
        probe: Raises while Redis is away.
        pause_s: Between two probes.
    """

    def __init__(self, probe: Callable[[], object], *, pause_s: float = _PROBE_PAUSE_S) -> None:
        self._probe = probe
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._opened_by = 0  # the process that holds Redis to be away
        self._stopped = threading.Event()

    @property
    def is_open(self) -> bool:
        """Whether Redis is held to be away, so that it should not be asked."""
        return self._opened_by == os.getpid()

    def note_failure(self, problem: str) -> None:
        """Hold Redis to be away until a probe succeeds."""
        with self._lock:
            if self.is_open or self._stopped.is_set():
                return
            self._opened_by = os.getpid()
        _LOG.warning("broker.unreachable", problem=problem)
        threading.Thread(target=self._probe_until_back, name="k9ops-breaker", daemon=True).start()

    def close(self) -> None:
        """End the probes."""
        self._stopped.set()

    def _probe_until_back(self) -> None:
        while not self._stopped.wait(self._pause_s):
            try:
                self._probe()
            except Exception:  # noqa: S112 (whatever it is, Redis is not back)
                continue
            self._opened_by = 0
            _LOG.info("broker.reachable")
            return
