"""What a job returns: how it ended, and the evidence for it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

OutcomeState = Literal["succeeded", "partial", "skipped", "failed"]


@dataclass(frozen=True)
class FollowUp:
    """A run to be recorded in the same transaction that records this outcome, and sent after its commit.

    Attributes:
        job: Name of the job.
        params: Its keyword arguments, JSON scalars.
    """

    job: str
    params: Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        state: `succeeded`, `partial` (usable, but a part of it failed), `skipped` (nothing to do) or `failed`.
        message: One sentence for a person.
        evidence: JSON values that prove the state: rows counted, bytes hashed, tables compared.
        follow_ups: Runs that this outcome starts.

    Raises:
        ValueError: `succeeded` or `partial` without evidence.

    Example:
        >>> Outcome("succeeded", "3 schedules locked.", {"locked": 3}).state
        'succeeded'
    """

    state: OutcomeState
    message: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    follow_ups: tuple[FollowUp, ...] = ()

    def __post_init__(self) -> None:
        if self.state in ("succeeded", "partial") and not self.evidence:
            raise ValueError(f"an outcome {self.state!r} needs evidence")

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form that the result backend and `--json` show."""
        return {"state": self.state, "message": self.message, "evidence": dict(self.evidence)}


def skipped(reason: str, **evidence: Any) -> Outcome:
    """Return the outcome of a job that had nothing to do."""
    return Outcome("skipped", reason, evidence)


def _never_stop() -> None:
    return None


def _no_progress(done: int, total: int, unit: str) -> None:
    return None


@dataclass(frozen=True)
class Execution:
    """What a job may ask of whoever executes it: a worker, the command line or a plain call.

    Attributes:
        run_id: Id of the run, the same over all its attempts; a plain call gets a fresh one.
        requested_at: When the run was asked for, aware UTC; the same over all its attempts too.
        check_stop: Raises `RunInterrupted` when the work must stop. Call it between steps and at least
            every half second while waiting for a child process. Jobs let it pass through.
        report_progress: Told (done, total, unit), as often as the job likes; total 0 means unknown.
        requested_by: Who asked for the run; None when unknown.
    """

    run_id: uuid.UUID = field(default_factory=uuid.uuid4)
    requested_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    check_stop: Callable[[], None] = _never_stop
    report_progress: Callable[[int, int, str], None] = _no_progress
    requested_by: str | None = None
