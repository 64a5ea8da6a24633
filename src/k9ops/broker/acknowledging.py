"""Acknowledging messages without a wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from k9ops.broker.results import EncodedResult


class Acknowledger:
    """Acknowledges the messages of one consumer.

    The ledger has the outcome by then, and skips a message that comes again. So nobody need wait: whoever finds nobody
    at work acknowledges its own message, and those that other threads leave here meanwhile. What could not be
    acknowledged stays for the next.

    Args:
        acknowledge: Takes the ids of messages, each with its result; may be called with the same ones again.
    """

    def __init__(self, acknowledge: Callable[[Mapping[str, EncodedResult | None]], None]) -> None:
        self._acknowledge = acknowledge
        self._lock = threading.Lock()
        self._left: dict[str, EncodedResult | None] = {}
        self._at_work: object | None = None

    def __call__(self, message_id: str, result: EncodedResult | None) -> None:
        """Acknowledge a message, now or by another thread soon.

        Raises:
            Exception: What `acknowledge` raises, to the one who calls it.
        """
        with self._lock:
            self._left[message_id] = result
        self.flush()

    def flush(self) -> None:
        """Acknowledge what is left, unless somebody is doing so."""
        me = object()
        try:
            while batch := self._take(me):
                try:
                    self._acknowledge(batch)
                except BaseException:
                    with self._lock:
                        self._left = {**batch, **self._left}
                    raise
        finally:
            # Also after an interrupt, wherever it has struck.
            with self._lock:
                if self._at_work is me:
                    self._at_work = None

    def _take(self, me: object) -> dict[str, EncodedResult | None]:
        with self._lock:
            if self._at_work not in (None, me):
                return {}
            batch, self._left = self._left, {}
            self._at_work = me if batch else None
            return batch
