"""What the service knows about a job: the options of its actor."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import dramatiq

from k9ops.errors import JobUnknown, ParamsInvalid
from k9ops.ledger.conclusion import RetryPolicy
from k9ops.ledger.model import Run
from k9ops.private import hide_params

#: Options that k9ops adds to those of Dramatiq. `max_retries`, `min_backoff` and `max_backoff` (milliseconds) mean
#: what they mean in Dramatiq's own Retries middleware, which the ledger replaces. `soft_limit` and `max_lateness` are
#: milliseconds too. `is_inline_safe` allows execution in the caller when the broker is away, and `fallback` is what
#: `enqueue` does then unless it is told. `is_coalesced` gives
#: requests that are equal one run as long as that has not ended. `is_audited`, true unless told otherwise, gives a
#: success an entry in the audit. `private_params` names parameters whose values nobody
#: is shown, by page, command, log or audit; `params.employee` is one in an object.
JOB_OPTIONS = frozenset(
    {
        "max_retries",
        "min_backoff",
        "max_backoff",
        "soft_limit",
        "max_lateness",
        "is_inline_safe",
        "fallback",
        "is_coalesced",
        "is_audited",
        "private_params",
    }
)

#: Of a job that names no `time_limit`.
DEFAULT_HARD_LIMIT_MS = 1_800_000

Fallback = Literal["outbox", "inline", "raise"]

_DEFAULT_MAX_RETRIES = 3
_DEFAULT_MIN_BACKOFF_MS = 15_000
_DEFAULT_MAX_BACKOFF_MS = 3_600_000


@dataclass(frozen=True)
class Job:
    """A job's name, queue and limits, in seconds.

    Attributes:
        name: Permanent; also the actor's name.
        queue: Where its messages go.
        retries: How it is tried again.
        soft_limit_s: When it is asked to stop; None is never.
        hard_limit_s: When an exception ends it, and soon after that its process.
        max_lateness_s: A run that starts later than this after its due moment expires; None is never.
        is_inline_safe: Whether a caller may execute it when the broker is away.
        fallback: What `enqueue` does when the broker is away: `outbox`, `inline` or `raise`.
        is_coalesced: Whether `enqueue` answers with the open run of the same parameters, if there is one.
        is_audited: Whether a success stands in the audit, since it has changed something.
        private_params: Parameters whose values nobody is shown, as `hide_params` takes them.
    """

    name: str
    queue: str
    retries: RetryPolicy
    soft_limit_s: float | None
    hard_limit_s: float
    max_lateness_s: float | None
    is_inline_safe: bool
    fallback: Fallback = "outbox"
    is_coalesced: bool = False
    is_audited: bool = True
    private_params: frozenset[str] = frozenset()

    def expires_at(self, due_at: datetime | None) -> datetime | None:
        """Return the latest start of a run that is due then (None: now); None when it may start at any time."""
        if self.max_lateness_s is None:
            return None
        return (due_at or datetime.now(UTC)) + timedelta(seconds=self.max_lateness_s)


def describe_job(actor: dramatiq.Actor[..., Any]) -> Job:
    """Return what an actor's options say."""
    options = actor.options
    soft_limit_ms, lateness_ms = options.get("soft_limit"), options.get("max_lateness")
    return Job(
        name=actor.actor_name,
        queue=actor.queue_name,
        retries=RetryPolicy(
            max_attempts=int(options.get("max_retries", _DEFAULT_MAX_RETRIES)) + 1,
            min_backoff_s=options.get("min_backoff", _DEFAULT_MIN_BACKOFF_MS) / 1000,
            max_backoff_s=options.get("max_backoff", _DEFAULT_MAX_BACKOFF_MS) / 1000,
        ),
        soft_limit_s=None if soft_limit_ms is None else soft_limit_ms / 1000,
        hard_limit_s=options.get("time_limit", DEFAULT_HARD_LIMIT_MS) / 1000,
        max_lateness_s=None if lateness_ms is None else lateness_ms / 1000,
        is_inline_safe=bool(options.get("is_inline_safe", False)),
        fallback=options.get("fallback", "outbox"),
        is_coalesced=bool(options.get("is_coalesced", False)),
        is_audited=bool(options.get("is_audited", True)),
        private_params=frozenset(options.get("private_params", ())),
    )


def find_actor(broker: dramatiq.Broker, name: str) -> dramatiq.Actor[..., Any]:
    """Return the actor of a job.

    Raises:
        JobUnknown: Lists the jobs that there are.
    """
    try:
        return broker.get_actor(name)
    except dramatiq.ActorNotFound:
        known = ", ".join(sorted(broker.get_declared_actors()))
        raise JobUnknown(f"There is no job {name!r}. The jobs are: {known}.") from None


def hide_private_params(broker: dramatiq.Broker, run: Run) -> Run:
    """Return a run as it may be shown: without the values that its job declares private."""
    if not run.params:
        return run
    try:
        private = describe_job(find_actor(broker, run.job)).private_params
    except JobUnknown:
        private = frozenset(run.params)  # nobody knows which of them were
    return replace(run, params=hide_params(run.params, private))


def check_params(actor: dramatiq.Actor[..., Any], params: Mapping[str, Any]) -> None:
    """Check that a job takes these parameters.

    Raises:
        ParamsInvalid: Names the parameter that is missing or unknown, or says that a value is not JSON.
    """
    build_params_check(actor)(params)


def build_params_check(actor: dramatiq.Actor[..., Any]) -> Callable[[Mapping[str, Any]], None]:
    """Return `check_params` for one job, for many parameters."""
    signature = inspect.signature(actor.fn)
    known = ", ".join(signature.parameters) or "none"

    def check(params: Mapping[str, Any]) -> None:
        try:
            signature.bind(**params)
        except TypeError as exc:
            raise ParamsInvalid(f"{actor.actor_name}: {exc}; it takes: {known}.") from None
        try:
            encoded = json.dumps(dict(params), allow_nan=False, ensure_ascii=False).encode()
        except (TypeError, ValueError) as exc:
            raise ParamsInvalid(f"{actor.actor_name}: a parameter is not JSON ({exc}).") from None
        if b"\\u0000" in encoded:
            raise ParamsInvalid(f"{actor.actor_name}: a parameter has a NUL character, which PostgreSQL cannot store.")

    return check
