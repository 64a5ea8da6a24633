"""What a check finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from k9ops.cli.failures import explain_failure
from k9ops.errors import BrokerUnavailable

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One line of `k9ops check`.

    Attributes:
        name: What was looked at.
        status: `warn` works but should not stay so; `fail` does not work.
        message: What was found.
        advice: What to do about it; "" when nothing.
    """

    name: str
    status: Status
    message: str
    advice: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def run_check(name: str, action: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Make one check; an error in it becomes its finding."""
    try:
        yield from list(action())
    except Exception as exc:
        yield Finding(name, "fail", explain_failure(exc).message, _advise(exc))


def _advise(error: Exception) -> str:
    if isinstance(error, BrokerUnavailable) and "RabbitMQ" in error.user_message:
        return "Start RabbitMQ, or correct K9OPS_BROKER_URL."
    return {
        "DatabaseUnavailable": "Start PostgreSQL, or correct DATABASE_URL; `k9ops up` starts one where it is not set.",
        "BrokerUnavailable": "Start Redis, or correct REDIS_URL; `k9ops up` starts one where it is not set.",
    }.get(type(error).__name__, "")
