"""What becomes of a run after an attempt: a pure decision from what the job returned or raised."""

from __future__ import annotations

import json
import random
import traceback as traceback_module
from dataclasses import dataclass
from typing import Any, Literal

from k9ops.errors import K9opsError, PermanentError, RunInterrupted, TransientError
from k9ops.ledger.execution import ActiveRun
from k9ops.outcome import Outcome

_MAX_TRACEBACK_CHARS = 16_000
_NO_OUTCOME = "The job returned no outcome, so nothing proves that it worked."


@dataclass(frozen=True)
class RetryPolicy:
    """How often, and how long apart, a job is tried.

    Attributes:
        max_attempts: Attempts in all, at least 1.
        min_backoff_s: Wait after the first failure; it doubles from there.
        max_backoff_s: Longest wait.
    """

    max_attempts: int
    min_backoff_s: float
    max_backoff_s: float


@dataclass(frozen=True)
class Conclusion:
    """What to record.

    Attributes:
        action: `finish` (final state), `retry`, `put_back` (the attempt does not count) or `abandon` (the lease is
            lost: write nothing).
        state: The final state when `action` is `finish`, else "".
        message: One sentence for a person.
        outcome: What the job returned, when it returned one.
        delay_s: Wait before the next attempt when `action` is `retry`.
        error_class: Name of the error's class, None without one.
        traceback: For a bug only: an error that k9ops raised on purpose needs none.
    """

    action: Literal["finish", "retry", "put_back", "abandon"]
    state: str
    message: str
    outcome: Outcome | None = None
    delay_s: float = 0.0
    error_class: str | None = None
    traceback: str | None = None


def conclude_return(result: Any) -> Conclusion:
    """Decide what a returned value means. Only an `Outcome` can be a success; a returned failure is a failure."""
    if isinstance(result, Outcome):
        try:
            json.dumps(result.to_dict(), allow_nan=False)
        except (TypeError, ValueError) as exc:
            message = f"The job's evidence cannot be stored, as it is not JSON: {exc}."
            return Conclusion("finish", "failed", message, error_class="OutcomeInvalid")
        error_class = "OutcomeFailed" if result.state == "failed" else None
        return Conclusion("finish", result.state, result.message, result, error_class=error_class)
    message = _NO_OUTCOME
    if isinstance(result, dict) and isinstance(result.get("error") or result.get("message"), str):
        message = f"{_NO_OUTCOME} It said: {result.get('error') or result.get('message')}"
    return Conclusion("finish", "failed", message, error_class="OutcomeMissing")


def conclude_error(
    error: BaseException,
    active: ActiveRun,
    policy: RetryPolicy,
    *,
    is_time_limit: bool = False,
    random_unit: float | None = None,
) -> Conclusion:
    """Decide what a raised error means.

    Args:
        error: What the job raised.
        active: The run, which knows why it was asked to stop.
        policy: The job's retries.
        is_time_limit: The error is the hard time limit's.
        random_unit: For the jitter, 0 to 1; None draws one.
    """
    if active.stop_reason == "lease_lost":
        return Conclusion("abandon", "", "Another process holds this run now.")
    if isinstance(error, RunInterrupted):
        if error.reason == "cancelled":
            return Conclusion("finish", "cancelled", error.user_message)
        if error.reason == "shutdown":
            return Conclusion("put_back", "", error.user_message)
    name = type(error).__name__
    message = error.user_message if isinstance(error, K9opsError) else f"{name}: {error}"
    is_expected = isinstance(error, PermanentError | TransientError)
    if is_time_limit:
        name, message, is_expected = (
            "TimeLimitExceeded",
            "The run took longer than its hard time limit.",
            True,
        )
    message = active.log.hide(message)
    details = (
        None
        if is_expected
        else active.log.hide("".join(traceback_module.format_exception(error)))[-_MAX_TRACEBACK_CHARS:]
    )
    attempt = active.claim.run.attempt
    if isinstance(error, PermanentError) or attempt >= policy.max_attempts:
        return Conclusion("finish", "failed", message, error_class=name, traceback=details)
    retry_after_s = error.retry_after_s if isinstance(error, TransientError) else None
    delay_s = plan_backoff(attempt, policy, random.random() if random_unit is None else random_unit)  # noqa: S311
    return Conclusion(
        "retry",
        "",
        message,
        delay_s=retry_after_s if retry_after_s is not None else delay_s,
        error_class=name,
        traceback=details,
    )


def plan_backoff(attempt: int, policy: RetryPolicy, random_unit: float) -> float:
    """Return the wait after a failed attempt: doubled each time, capped, then between half and all of that.

    Args:
        attempt: The attempt that failed, from 1.
        policy: The job's retries.
        random_unit: 0 to 1.
    """
    full_s = min(policy.max_backoff_s, policy.min_backoff_s * 2.0 ** min(attempt - 1, 40))
    return full_s * (0.5 + random_unit / 2)
