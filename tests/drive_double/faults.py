"""What a test makes go wrong, and when."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Literal

#: `token`, `device` and `revoke` are of the OAuth server, the others of Drive.
Kind = Literal[
    "token", "device", "revoke", "about", "ids", "list", "get", "create", "update", "delete", "download", "open",
    "chunk", "query",
]  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """An answer in place of the real one.

    Attributes:
        kind: Of the requests it is for.
        status: HTTP status; 0 cuts the connection instead of answering.
        reason: Drive's word in `error.errors[0].reason`, or OAuth's in `error`.
        retry_after: Header `Retry-After`.
        lose_reply: Do what is asked first, then cut the connection.
        delay_s: Wait before answering.
    """

    kind: Kind
    status: int = 0
    reason: str = ""
    retry_after: str = ""
    lose_reply: bool = False
    delay_s: float = 0.0


@dataclass
class Faults:
    """Those that wait, in order; each is used once.

    Attributes:
        cut_offsets: Offsets in a file at which the connection is cut while a chunk arrives, each once.
        is_slow: Set while a delayed answer waits.
        release: Ends every delay at once.
    """

    waiting: list[Fault] = field(default_factory=list)
    cut_offsets: set[int] = field(default_factory=set)
    is_slow: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, fault: Fault, *, times: int = 1) -> None:
        """Let the next requests of a kind go wrong."""
        with self._lock:
            self.waiting += [fault] * times

    def take(self, kind: Kind) -> Fault | None:
        """Return the fault for a request that has come, if there is one."""
        with self._lock:
            for position, fault in enumerate(self.waiting):
                if fault.kind == kind:
                    return self.waiting.pop(position)
        return None

    def next_cut(self, start: int, end: int) -> int | None:
        """Return the first offset in a range at which to cut, and forget it."""
        with self._lock:
            offset = min((offset for offset in self.cut_offsets if start <= offset < end), default=None)
            if offset is not None:
                self.cut_offsets.discard(offset)
            return offset
