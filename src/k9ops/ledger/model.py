"""A run as the ledger knows it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping

FINAL_STATES = frozenset({"succeeded", "partial", "skipped", "failed", "cancelled", "expired"})
PERSONS_TRIGGERS = frozenset({"cli", "web"})
OPEN_STATES = frozenset({"queued", "retrying"})


@dataclass(frozen=True)
class NewRun:
    """A run that is about to be recorded.

    Attributes:
        id: Also the id of its message.
        job: Name of the job.
        queue: Queue that its messages go to.
        params: Keyword arguments, JSON values.
        trigger: `send`, `enqueue`, `schedule`, `cli`, `web` or `follow_up`.
        requested_by: A person or a service; None when unknown.
        parent_id: The run that started this one.
        slot: Due moment of a schedule; a job has at most one run for each.
        due_at: Earliest start; None means now.
        expires_at: A run that has not started by then ends as `expired`; None means never.
        origin: From where a person asks for it, for the audit.
        reason: Why, in that person's words.
        private_params: Names of parameters whose values the audit must not have, as `hide_params` takes them.
    """

    job: str
    queue: str
    params: Mapping[str, Any] = field(default_factory=dict)
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    trigger: str = "enqueue"
    requested_by: str | None = None
    parent_id: uuid.UUID | None = None
    slot: datetime | None = None
    due_at: datetime | None = None
    expires_at: datetime | None = None
    origin: str | None = None
    reason: str | None = None
    private_params: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Run:
    """One recorded execution of a job; the columns of `k9ops.run`, times aware UTC."""

    id: uuid.UUID
    job: str
    queue: str
    params: dict[str, Any]
    state: str
    trigger: str
    requested_by: str | None
    parent_id: uuid.UUID | None
    slot: datetime | None
    path: str | None
    attempt: int
    deaths: int
    created_at: datetime
    due_at: datetime
    expires_at: datetime | None
    sent_at: datetime | None
    sends: int
    started_at: datetime | None
    finished_at: datetime | None
    lease_owner: str | None
    lease_expires_at: datetime | None
    cancel_requested_at: datetime | None
    progress: dict[str, Any] | None
    message: str | None
    evidence: dict[str, Any] | None
    error_class: str | None
    traceback: str | None
    history: list[dict[str, Any]]
    acknowledged_at: datetime | None = None

    @property
    def is_final(self) -> bool:
        """Whether the run has its outcome."""
        return self.state in FINAL_STATES

    @property
    def duration_s(self) -> float | None:
        """Seconds from the first start to the end; None while there is no end."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, times as ISO 8601."""
        return {
            key: value.isoformat()
            if isinstance(value, datetime)
            else str(value)
            if isinstance(value, uuid.UUID)
            else value
            for key, value in asdict(self).items()
        } | {"duration_s": self.duration_s}


RUN_COLUMNS = ", ".join(f"run.{item.name}" for item in fields(Run))


def run_from_row(row: RowMapping) -> Run:
    """Return the run of a database row that has all of `RUN_COLUMNS`."""
    return Run(**{item.name: row[item.name] for item in fields(Run)})
