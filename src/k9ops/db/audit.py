"""The audit entries: appending one, and reading them. Triggers of the table link each to the one before."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from k9ops.db.storable import make_storable

# Of the advisory lock that puts writers in order, held until the end of their transaction; the triggers take it too.
LOCK_KEY = 0x6B396F70736175  # "k9opsau" in ASCII

_APPEND = text("""
    INSERT INTO k9ops.audit_event (actor, origin, action, target_type, target_id, reason, before, after, run_id)
    VALUES (:actor, :origin, :action, :target_type, :target_id, :reason, CAST(:before AS jsonb), CAST(:after AS jsonb),
            :run_id)
    RETURNING id
""")


@dataclass(frozen=True, kw_only=True)
class AuditEvent:
    """A change that a person or a job made.

    Attributes:
        actor: Who: a person's name, or that of a job.
        action: What, a verb: `cancel`, `pause`, `lock`, ….
        target_type: Of what: `run`, `schedule`, `backup`, `database`, ….
        target_id: Which one.
        origin: From where, e.g. `cli on k9-server` or `web from 10.0.0.7`.
        reason: Why, in the person's words.
        before: How it was, JSON values; no secrets.
        after: How it is.
        run_id: The run that changed it.
    """

    actor: str
    action: str
    target_type: str
    target_id: str
    origin: str | None = None
    reason: str | None = None
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    run_id: uuid.UUID | None = None


@dataclass(frozen=True, kw_only=True)
class RecordedEvent(AuditEvent):
    """An audit entry.

    Attributes:
        id: Its number, from 1 without gaps.
        at: When, aware UTC.
        hash: SHA-256, hexadecimal.
    """

    id: int
    at: datetime
    hash: str

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, times as ISO 8601."""
        return vars(self) | {"at": self.at.isoformat(), "run_id": str(self.run_id) if self.run_id else None}


def append_event(connection: Connection, event: AuditEvent) -> int:
    """Append an entry in the caller's transaction, so that it stands exactly when the change does.

    Call it last: from here to the end of the transaction other writers wait, so nothing slow and no other lock may
    follow.

    Args:
        connection: In a transaction of level READ COMMITTED.
        event: The change.

    Returns:
        The number of the entry.
    """
    values = {
        "actor": event.actor,
        "origin": event.origin,
        "action": event.action,
        "target_type": event.target_type,
        "target_id": event.target_id,
        "reason": event.reason,
        "before": _encode(event.before),
        "after": _encode(event.after),
    }
    storable = {name: make_storable(value) for name, value in values.items()}
    number: int = connection.execute(_APPEND, {**storable, "run_id": event.run_id}).scalar_one()
    return number


def list_events(
    connection: Connection,
    *,
    actor: str | None = None,
    action: str | None = None,
    target_type: str | None = None,
    target_id: str | None = None,
    since: datetime | None = None,
    before_id: int | None = None,
    limit: int = 50,
) -> list[RecordedEvent]:
    """Return entries, newest first.

    Args:
        connection: The database.
        actor: Only by this person or job.
        action: Only this.
        target_type: Only about such things.
        target_id: Only about one whose id begins so.
        since: Only at or after this moment, aware.
        before_id: Only those before this number: the next page.
        limit: At most this many.
    """
    wanted = {
        "actor = :actor": ("actor", actor),
        "action = :action": ("action", action),
        "target_type = :target_type": ("target_type", target_type),
        "starts_with(target_id, :target_id)": ("target_id", target_id),
        "at >= :since": ("since", since),
        "id < :before_id": ("before_id", before_id),
    }
    used = {condition: item for condition, item in wanted.items() if item[1] is not None}
    statement = text(f"SELECT * FROM k9ops.audit_event WHERE {' AND '.join(['true', *used])} ORDER BY id DESC LIMIT :n")
    rows = connection.execute(statement, dict(used.values()) | {"n": limit}).mappings()
    return [_event_from_row(row) for row in rows]


def name_origin(kind: str) -> str:
    """Return where a change comes from: `cli`, `worker`, …, and this machine."""
    return f"{kind} on {socket.gethostname()}"


def _event_from_row(row: RowMapping) -> RecordedEvent:
    values = {name: value for name, value in row.items() if name != "previous_hash"}
    return RecordedEvent(**values | {"hash": row["hash"].hex()})


def _encode(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(dict(value), ensure_ascii=False)
