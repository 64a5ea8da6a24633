"""What becomes of conditions from round to round: an incident opens, is told once, is recalled, and is over. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from k9ops.alerts.rules import Condition

MessageKind = Literal["alert", "reminder", "recovery"]


@dataclass(frozen=True)
class Incident:
    """Something wrong that has not ended.

    Attributes:
        id: Its number.
        rule: As in the condition.
        subject: As in the condition.
        message: The first words.
        opened_at: When it was first seen.
        told_at: When people were last told; None while that was not allowed.
    """

    id: int
    rule: str
    subject: str
    message: str
    opened_at: datetime
    told_at: datetime | None = None

    @property
    def key(self) -> str:
        """As of the condition."""
        return f"{self.rule}:{self.subject}"


@dataclass(frozen=True)
class Plan:
    """What a round does.

    Attributes:
        opened: Conditions that are new.
        told: Those of them that are told at once.
        alerts: Older incidents that may be told only now.
        reminders: Incidents that are recalled.
        closed: Incidents that are over.
        recoveries: Those of them that people had been told of.
    """

    opened: tuple[Condition, ...]
    told: tuple[Condition, ...]
    alerts: tuple[Incident, ...]
    reminders: tuple[Incident, ...]
    closed: tuple[Incident, ...]
    recoveries: tuple[Incident, ...]


def plan_round(
    incidents: Sequence[Incident],
    conditions: Sequence[Condition],
    *,
    now: datetime,
    remind_after: timedelta,
    is_silent: Callable[[str, str], bool],
) -> Plan:
    """Decide what is told.

    Args:
        incidents: Those that are open.
        conditions: What is wrong now.
        now: Aware.
        remind_after: After so long an incident that goes on is recalled; zero never recalls.
        is_silent: Whether a rule and subject are muted, or a maintenance window is open. What is silent is recorded,
            and told afterwards if it still goes on.
    """
    wrong = {condition.key: condition for condition in conditions}
    known = {incident.key for incident in incidents}
    opened = tuple(condition for key, condition in wrong.items() if key not in known)
    lasting = [incident for incident in incidents if incident.key in wrong]
    loud = [incident for incident in lasting if not is_silent(incident.rule, incident.subject)]
    closed = tuple(incident for incident in incidents if incident.key not in wrong)
    return Plan(
        opened=opened,
        told=tuple(condition for condition in opened if not is_silent(condition.rule, condition.subject)),
        alerts=tuple(incident for incident in loud if incident.told_at is None),
        reminders=tuple(
            incident
            for incident in loud
            if incident.told_at is not None and remind_after and now - incident.told_at >= remind_after
        ),
        closed=closed,
        recoveries=tuple(incident for incident in closed if incident.told_at is not None),
    )
