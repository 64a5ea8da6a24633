"""Incidents as people look at them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

_LIST = text("""
    SELECT incident.id, rule, subject, message, opened_at, told_at, closed_at,
        (SELECT string_agg(channel || ' ' || kind || ': ' || coalesce(problem, 'waits'), '; ' ORDER BY m.id)
         FROM k9ops.alert_message AS m WHERE m.incident_id = incident.id AND sent_at IS NULL) AS undelivered
    FROM k9ops.incident WHERE closed_at IS NULL OR closed_at >= CAST(:closed_since AS timestamptz)
    ORDER BY closed_at IS NULL DESC, opened_at DESC, id DESC LIMIT :limit
""")


@dataclass(frozen=True)
class ListedIncident:
    """An incident.

    Attributes:
        id: Its number.
        rule: Name of the rule that found it.
        subject: Of what, for example a job; may be empty.
        message: What is wrong.
        opened_at: Since when.
        told_at: When people were last told; None while muted, or without a channel.
        closed_at: Until when; None while it lasts.
        undelivered: What could not be told to whom, and why; None when nothing is left.
    """

    id: int
    rule: str
    subject: str
    message: str
    opened_at: datetime
    told_at: datetime | None
    closed_at: datetime | None
    undelivered: str | None


def list_incidents(
    connection: Connection, *, closed_since: datetime | None = None, limit: int | None = None
) -> list[ListedIncident]:
    """Return the incidents that last, newest first, then those that are over.

    Args:
        connection: To the ledger.
        closed_since: Also what is over since then.
        limit: At most so many; None for all.
    """
    rows = connection.execute(_LIST, {"closed_since": closed_since, "limit": limit})
    return [ListedIncident(*row) for row in rows]
