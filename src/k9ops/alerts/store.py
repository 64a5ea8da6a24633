"""Incidents, mutes, the outbox of messages and the watchman's rounds in PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from k9ops.alerts.incidents import Incident
from k9ops.alerts.rules import Condition
from k9ops.db.storable import make_storable

_LOCK_KEY = 0x6B396F70737761  # "k9opswa" in ASCII
_GIVE_UP_AFTER = timedelta(hours=24)
_FIRST_PAUSE_S = 30
_LONGEST_PAUSE_S = 3600

_BEGIN_ROUND = text("""
    INSERT INTO k9ops.watchman (id, holder, round_at, pinged_until) VALUES (1, :holder, :now, :now)
    ON CONFLICT (id) DO UPDATE SET holder = :holder, round_at = :now
""")
# What has waited longest goes first; one that another process sends at this moment is left out.
_CLAIM = text("""
    UPDATE k9ops.alert_message SET tries = tries + 1, due_at = CAST(:now AS timestamptz)
        + make_interval(secs => least(:longest, :first * power(2, tries)))
    WHERE id = (SELECT id FROM k9ops.alert_message WHERE sent_at IS NULL AND given_up_at IS NULL AND due_at <= :now
                ORDER BY due_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING id, channel, kind, incident_id, content, created_at
""")


@dataclass(frozen=True)
class Rounds:
    """What is known of the former rounds.

    Attributes:
        round_at: When the last one was.
        pinged_until: Runs up to here were pinged.
        drive: What Drive said.
    """

    round_at: datetime
    pinged_until: datetime
    drive: Mapping[str, Any]


@dataclass(frozen=True)
class Mute:
    """Somebody wants to hear nothing of a rule, or of one subject of it."""

    id: int
    rule: str
    subject: str | None
    until: datetime
    muted_by: str
    reason: str | None

    def covers(self, rule: str, subject: str) -> bool:
        """Tell whether it is meant."""
        return self.rule in ("*", rule) and self.subject in (None, subject)


@dataclass(frozen=True)
class Message:
    """A message of the outbox."""

    id: int
    channel: str
    kind: str
    incident_id: int | None
    content: dict[str, Any]
    created_at: datetime


def elect(connection: Connection, *, now: datetime, interval_s: float) -> tuple[bool, Rounds | None]:
    """Become the watchman of this round, until the end of the transaction.

    Returns:
        False while another process goes a round, or the last one was too short ago; and what is known of that.
    """
    if not connection.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _LOCK_KEY}):
        return False, None
    row = connection.execute(text("SELECT round_at, pinged_until, drive FROM k9ops.watchman")).one_or_none()
    if row is None:
        return True, None
    rounds = Rounds(row.round_at, row.pinged_until, row.drive)
    # A clock that was set back must not stop the rounds.
    return not 0 <= (now - rounds.round_at).total_seconds() < interval_s * 0.9, rounds


def note_round(connection: Connection, *, holder: str, now: datetime) -> None:
    """Note that a round is gone."""
    connection.execute(_BEGIN_ROUND, {"holder": holder, "now": now})


def note_drive(connection: Connection, facts: Mapping[str, Any]) -> None:
    """Note what Drive said."""
    statement = text("UPDATE k9ops.watchman SET drive = CAST(:drive AS jsonb)")
    connection.execute(statement, {"drive": make_storable(json.dumps(dict(facts), ensure_ascii=False))})


def note_pinged(connection: Connection, until: datetime) -> None:
    """Note up to which moment runs were pinged."""
    connection.execute(text("UPDATE k9ops.watchman SET pinged_until = :until"), {"until": until})


def read_open_incidents(connection: Connection) -> list[Incident]:
    """Return the incidents that go on, oldest first."""
    rows = connection.execute(
        text(
            "SELECT id, rule, subject, message, opened_at, told_at FROM k9ops.incident"
            " WHERE closed_at IS NULL ORDER BY id"
        )
    )
    return [Incident(*row) for row in rows]


def open_incident(connection: Connection, condition: Condition, *, now: datetime, is_told: bool) -> Incident:
    """Record a new incident."""
    values = {
        "rule": condition.rule,
        "subject": condition.subject,
        "message": make_storable(condition.message),
        "now": now,
        "told_at": now if is_told else None,
    }
    number: int = connection.execute(
        text(
            "INSERT INTO k9ops.incident (rule, subject, message, opened_at, told_at)"
            " VALUES (:rule, :subject, :message, :now, :told_at) RETURNING id"
        ),
        values,
    ).scalar_one()
    return Incident(number, condition.rule, condition.subject, condition.message, now, now if is_told else None)


def note_told(connection: Connection, incident: Incident, *, now: datetime) -> None:
    """Note that people are told of an incident again."""
    connection.execute(text("UPDATE k9ops.incident SET told_at = :now WHERE id = :id"), {"now": now, "id": incident.id})


def close_incident(connection: Connection, incident: Incident, *, now: datetime) -> None:
    """Record that an incident is over."""
    statement = text("UPDATE k9ops.incident SET closed_at = :now WHERE id = :id")
    connection.execute(statement, {"now": now, "id": incident.id})


def read_mutes(connection: Connection, *, now: datetime) -> list[Mute]:
    """Return the mutes in force."""
    statement = text(
        "SELECT id, rule, subject, until, muted_by, reason FROM k9ops.alert_mute WHERE until > :now ORDER BY id"
    )
    return [Mute(*row) for row in connection.execute(statement, {"now": now})]


def add_mute(
    connection: Connection, *, rule: str, subject: str | None, until: datetime, muted_by: str, reason: str | None
) -> int:
    """Mute a rule, `*` for all, or one subject of it. Return the mute's number."""
    number: int = connection.execute(
        text(
            "INSERT INTO k9ops.alert_mute (rule, subject, until, muted_by, reason)"
            " VALUES (:rule, :subject, :until, :muted_by, :reason) RETURNING id"
        ),
        {"rule": rule, "subject": subject, "until": until, "muted_by": muted_by, "reason": reason},
    ).scalar_one()
    return number


def end_mutes(connection: Connection, *, rule: str, subject: str | None, now: datetime) -> int:
    """Hear of a rule again. Return how many mutes ended."""
    return connection.execute(
        text(
            "UPDATE k9ops.alert_mute SET until = :now WHERE rule = :rule AND until > :now"
            " AND subject IS NOT DISTINCT FROM CAST(:subject AS text)"
        ),
        {"rule": rule, "subject": subject, "now": now},
    ).rowcount


def queue_message(
    connection: Connection,
    *,
    channel: str,
    kind: str,
    content: Mapping[str, Any],
    now: datetime,
    incident_id: int | None = None,
) -> None:
    """Put a message into the outbox."""
    connection.execute(
        text(
            "INSERT INTO k9ops.alert_message (channel, kind, incident_id, content, created_at, due_at)"
            " VALUES (:channel, :kind, :incident_id, CAST(:content AS jsonb), :now, :now)"
        ),
        {
            "channel": channel,
            "kind": kind,
            "incident_id": incident_id,
            "content": make_storable(json.dumps(dict(content), ensure_ascii=False)),
            "now": now,
        },
    )


def claim_message(connection: Connection, *, now: datetime) -> Message | None:
    """Take the next message that is due; unless it is noted as sent, it is due again after a pause that doubles."""
    row = connection.execute(_CLAIM, {"now": now, "first": _FIRST_PAUSE_S, "longest": _LONGEST_PAUSE_S}).one_or_none()
    return Message(*row) if row else None


def note_sent(connection: Connection, message: Message, *, now: datetime) -> None:
    """Note that a message arrived."""
    statement = text("UPDATE k9ops.alert_message SET sent_at = :now, problem = NULL WHERE id = :id")
    connection.execute(statement, {"now": now, "id": message.id})


def note_problem(connection: Connection, message: Message, problem: str, *, now: datetime) -> bool:
    """Note why a message did not arrive. Return whether it is given up, a day after it was written."""
    is_over = now - message.created_at >= _GIVE_UP_AFTER
    connection.execute(
        text("UPDATE k9ops.alert_message SET problem = :problem, given_up_at = :given_up WHERE id = :id"),
        {"problem": problem, "given_up": now if is_over else None, "id": message.id},
    )
    return is_over


def prune_messages(connection: Connection, *, before: datetime) -> None:
    """Forget messages and incidents of long ago."""
    for table, moment in (("alert_message", "coalesce(sent_at, given_up_at)"), ("incident", "closed_at")):
        connection.execute(text(f"DELETE FROM k9ops.{table} WHERE {moment} < :before"), {"before": before})


def utc_now() -> datetime:
    """Return the moment, aware."""
    return datetime.now(UTC)
