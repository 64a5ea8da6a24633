"""Results in Redis, for application code that calls `message.get_result()`; the ledger holds the truth."""

from __future__ import annotations

import json
from typing import Any

import dramatiq
from dramatiq.encoder import Encoder
from dramatiq.results import Results

from k9ops.outcome import Outcome


class OutcomeEncoder(Encoder):
    """JSON in which an `Outcome` stands as its dictionary."""

    def encode(self, data: Any) -> bytes:
        """Return UTF-8 JSON."""
        return json.dumps(data, separators=(",", ":"), ensure_ascii=False, default=_outcome_to_dict).encode()

    def decode(self, data: bytes) -> Any:
        """Return the value of UTF-8 JSON."""
        return json.loads(data)


class RunResults(Results):
    """Dramatiq's results, except that a second copy of a message does not overwrite the result of the first."""

    def after_skip_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        """Keep what is stored: a skipped message was a copy."""


def _outcome_to_dict(value: Any) -> Any:
    if isinstance(value, Outcome):
        return value.to_dict()
    raise TypeError(f"{type(value).__name__} is not JSON")
