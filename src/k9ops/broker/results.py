"""Results in Redis, for application code that calls `message.get_result()`; the ledger holds the truth."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any, NamedTuple

import dramatiq
import redis
from dramatiq.encoder import Encoder
from dramatiq.results import Results, ResultTimeout
from dramatiq.results.backend import ResultBackend
from dramatiq.results.backends.redis import RedisBackend
from dramatiq.results.result import wrap_result

from k9ops.outcome import Outcome

_LONGEST_WAIT_MS = 60_000


class EncodedResult(NamedTuple):
    """A result as it is to stand in Redis.

    Attributes:
        database: Number of Redis' database.
        key: Its key.
        data: What it stands as.
        ttl_ms: How long it stays.
    """

    database: int
    key: str
    data: bytes
    ttl_ms: int


class OutcomeEncoder(Encoder):
    """JSON in which an `Outcome` stands as its dictionary."""

    def encode(self, data: Any) -> bytes:
        """Return UTF-8 JSON."""
        return json.dumps(data, separators=(",", ":"), ensure_ascii=False, default=_outcome_to_dict).encode()

    def decode(self, data: bytes) -> Any:
        """Return the value of UTF-8 JSON."""
        return json.loads(data)


class RunResultBackend(RedisBackend):
    """Dramatiq's results in Redis, waited for as long as the caller likes."""

    def __init__(self, *, client: redis.Redis, encoder: Encoder) -> None:
        super().__init__(client=client, encoder=encoder)  # type: ignore[no-untyped-call]

    def get_result(self, message: Any, *, block: bool = False, timeout: int | None = None) -> Any:
        """Return a result.

        Args:
            message: Its message.
            block: Wait for it.
            timeout: For how long, in milliseconds; None is Dramatiq's ten seconds. May be longer than what the client
                waits for one answer.

        Raises:
            ResultMissing: There is none, and it is not waited for.
            ResultTimeout: There is none in time.
        """
        ends_at_s = time.monotonic() + (timeout or 0) / 1000
        while block and timeout is not None and timeout > _LONGEST_WAIT_MS:
            with contextlib.suppress(ResultTimeout):
                return super().get_result(message, block=True, timeout=_LONGEST_WAIT_MS)  # type: ignore[no-untyped-call]
            timeout = max(1000, int((ends_at_s - time.monotonic()) * 1000))
        return super().get_result(message, block=block, timeout=timeout)  # type: ignore[no-untyped-call]

    def encode_result(self, message: dramatiq.MessageProxy, result: Any, ttl_ms: int) -> EncodedResult:
        """Return what `store_result` would store."""
        data = self.encoder.encode(wrap_result(result))  # type: ignore[no-untyped-call]
        database = int(self.client.connection_pool.connection_kwargs.get("db") or 0)
        return EncodedResult(database, self.build_message_key(message), data, ttl_ms)


class RunResults(Results):
    """Dramatiq's results, except that a second copy of a message does not overwrite the result of the first.

    Args:
        backend: Where they go.
        ttl_ms: How long they stay.
        broker_client: Of a broker that stores a result in the round trip that acknowledges its message, when both are
            on one server.
    """

    def __init__(self, backend: ResultBackend, *, ttl_ms: int, broker_client: redis.Redis | None = None) -> None:
        super().__init__(backend=backend, store_results=True, result_ttl=ttl_ms)  # type: ignore[no-untyped-call]
        self._is_left_to_broker = (
            broker_client is not None
            and isinstance(backend, RunResultBackend)
            and _name_server(backend.client) == _name_server(broker_client)
        )

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: dramatiq.MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Store a result, or leave it with the message."""
        is_stored, ttl_ms = self._lookup_options(broker, message)  # type: ignore[no-untyped-call]
        if is_stored and exception is None and self._is_left_to_broker:
            proxy: Any = message
            proxy.encoded_result = self.backend.encode_result(message, result, ttl_ms)
        else:
            super().after_process_message(broker, message, result=result, exception=exception)  # type: ignore[no-untyped-call]

    def after_skip_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        """Keep what is stored: a skipped message was a copy."""


def _outcome_to_dict(value: Any) -> Any:
    if isinstance(value, Outcome):
        return value.to_dict()
    raise TypeError(f"{type(value).__name__} is not JSON")


def _name_server(client: redis.Redis) -> tuple[Any, ...]:
    options = client.connection_pool.connection_kwargs
    return tuple(options.get(name) for name in ("host", "port", "path", "username", "password"))
