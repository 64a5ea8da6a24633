"""Connections to Redis for requests that a person waits for: all their waits together have one limit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import redis

# A socket with a time-out of 0 would not wait at all, which redis-py takes for another kind of fault.
_SHORTEST_WAIT_S = 0.001
# To tell a socket takes a system call, for which so little is not worth it.
_TOO_LITTLE_S = 0.005

_ends_at_s: ContextVar[float | None] = ContextVar("k9ops_prompt_end", default=None)


@contextmanager
def limit_request(limit_s: float) -> Iterator[None]:
    """Let what prompt connections do inside take this long in all.

    A connection alone takes several waits: one for each address of the host, then an answer each to greeting,
    password and choice of database. Only the look-up of the host's name is not among them.
    """
    token = _ends_at_s.set(time.monotonic() + limit_s)
    try:
        yield
    finally:
        _ends_at_s.reset(token)


class _Prompt:
    """Each wait of a connection is at most what is left of its request's time."""

    _socket_timeout: float | None
    _socket_connect_timeout: float | None
    _sock: Any

    @property
    def socket_timeout(self) -> float | None:
        """Longest wait for an answer from now on, in seconds."""
        return _shorten(self._socket_timeout)

    @socket_timeout.setter
    def socket_timeout(self, value: float | None) -> None:
        self._socket_timeout = value

    @property
    def socket_connect_timeout(self) -> float | None:
        """Longest wait for a connection to one address from now on, in seconds."""
        return _shorten(self._socket_connect_timeout)

    @socket_connect_timeout.setter
    def socket_connect_timeout(self, value: float | None) -> None:
        self._socket_connect_timeout = value

    def send_packed_command(self, *args: Any, **options: Any) -> Any:
        """Send; as redis-py."""
        self._shorten_wait()
        return super().send_packed_command(*args, **options)  # type: ignore[misc]

    def read_response(self, *args: Any, **options: Any) -> Any:
        """Read an answer; as redis-py."""
        self._shorten_wait()
        return super().read_response(*args, **options)  # type: ignore[misc]

    def _shorten_wait(self) -> None:
        if self._sock is None:
            return
        wait_s, told_s = self.socket_timeout, self._sock.gettimeout()
        if wait_s is None or told_s is None or not 0 <= told_s - wait_s <= _TOO_LITTLE_S:
            self._sock.settimeout(wait_s)


class _PromptConnection(_Prompt, redis.Connection):
    pass


class _PromptTlsConnection(_Prompt, redis.SSLConnection):
    pass


class _PromptSocketConnection(_Prompt, redis.UnixDomainSocketConnection):
    pass


def find_prompt_class(url: str) -> type[redis.Connection]:
    """Return the class of prompt connections for a URL of Redis."""
    scheme = url.partition(":")[0]
    others: dict[str, Any] = {"rediss": _PromptTlsConnection, "unix": _PromptSocketConnection}
    found: type[redis.Connection] = others.get(scheme, _PromptConnection)
    return found


def _shorten(wait_s: float | None) -> float | None:
    ends_at_s = _ends_at_s.get()
    if ends_at_s is None:
        return wait_s
    left_s = max(ends_at_s - time.monotonic(), _SHORTEST_WAIT_S)
    return left_s if wait_s is None else min(wait_s, left_s)
