"""Results in Redis, for application code that calls `message.get_result()`; the ledger holds the truth."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from typing import Any

import dramatiq
import redis
from dramatiq.encoder import Encoder
from dramatiq.results import Results, ResultTimeout
from dramatiq.results.backends.redis import RedisBackend

from k9ops.combiner import Combiner
from k9ops.outcome import Outcome

_LONGEST_WAIT_MS = 60_000

# What Dramatiq stores: lists of one element, which readers turn round.
_STORE = """
for i = 1, #KEYS do
    redis.call("del", KEYS[i])
    redis.call("lpush", KEYS[i], ARGV[2 * i - 1])
    redis.call("pexpire", KEYS[i], ARGV[2 * i])
end
"""


class OutcomeEncoder(Encoder):
    """JSON in which an `Outcome` stands as its dictionary."""

    def encode(self, data: Any) -> bytes:
        """Return UTF-8 JSON."""
        return json.dumps(data, separators=(",", ":"), ensure_ascii=False, default=_outcome_to_dict).encode()

    def decode(self, data: bytes) -> Any:
        """Return the value of UTF-8 JSON."""
        return json.loads(data)


class RunResultBackend(RedisBackend):
    """Dramatiq's results in Redis, those of all threads stored together, and waited for as long as the caller likes."""

    def __init__(self, *, client: redis.Redis, encoder: Encoder) -> None:
        super().__init__(client=client, encoder=encoder)  # type: ignore[no-untyped-call]
        self._script = client.register_script(_STORE)
        self._combined = Combiner(self._store_all)

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

    def _store(self, message_key: str, result: Any, ttl: int) -> None:
        self._combined((message_key, self.encoder.encode(result), ttl))

    def _store_all(self, results: Sequence[tuple[str, bytes, int]]) -> list[None]:
        values = [value for _, data, ttl in results for value in (data, ttl)]
        self._script(keys=[key for key, _, _ in results], args=values)
        return [None] * len(results)


class RunResults(Results):
    """Dramatiq's results, except that a second copy of a message does not overwrite the result of the first."""

    def after_skip_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        """Keep what is stored: a skipped message was a copy."""


def _outcome_to_dict(value: Any) -> Any:
    if isinstance(value, Outcome):
        return value.to_dict()
    raise TypeError(f"{type(value).__name__} is not JSON")
