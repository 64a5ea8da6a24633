"""A bounded pipe of chunks between two threads: neither side waits for one that has gone."""

from __future__ import annotations

import threading
from collections import deque


class ChannelClosed(Exception):
    """The other side has ended before its time."""


class Channel:
    """Passes chunks from one thread to another; a full channel makes the writer wait.

    Args:
        limit_bytes: What may wait in it; one chunk always may.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._chunks: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._is_complete = False
        self._is_closed = False
        self._changed = threading.Condition()

    def put(self, chunk: bytes) -> None:
        """Pass a chunk; an empty one passes nothing.

        Raises:
            ChannelClosed: Nobody reads any more.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._waiting_bytes < self._limit_bytes)
            if self._is_closed:
                raise ChannelClosed
            if chunk:
                self._chunks.append(chunk)
                self._waiting_bytes += len(chunk)
                self._changed.notify_all()

    def complete(self) -> None:
        """Say that nothing more comes."""
        with self._changed:
            self._is_complete = True
            self._changed.notify_all()

    def get(self) -> bytes:
        """Return the next chunk; `b""` when nothing more comes.

        Raises:
            ChannelClosed: The writer ended without completing it.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._is_complete or bool(self._chunks))
            if self._is_closed:
                raise ChannelClosed
            if not self._chunks:
                return b""
            chunk = self._chunks.popleft()
            self._waiting_bytes -= len(chunk)
            self._changed.notify_all()
            return chunk

    def close(self) -> None:
        """End it from either side at once; what waits in it is dropped."""
        with self._changed:
            self._is_closed = True
            self._chunks.clear()
            self._changed.notify_all()
