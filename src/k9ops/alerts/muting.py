"""Silence for a while, and its entry in the audit."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Engine

from k9ops.alerts.rules import RULES
from k9ops.alerts.store import add_mute, end_mutes
from k9ops.db.audit import AuditEvent, append_event
from k9ops.db.engine import database_errors
from k9ops.errors import ParamsInvalid

#: Stands for all rules.
EVERYTHING = "*"


def mute_rule(
    engine: Engine,
    rule: str,
    *,
    subject: str | None,
    hours: float,
    muted_by: str,
    origin: str,
    reason: str | None,
    now: datetime,
) -> tuple[datetime, int]:
    """Hear nothing of a rule for a while, or hear of it again.

    Args:
        engine: The ledger's database.
        rule: Its name, or `EVERYTHING`.
        subject: Only of this one; None for all.
        hours: For how long; 0 ends the silence.
        muted_by: Who wants that.
        origin: From where.
        reason: Why.
        now: From when.

    Returns:
        The end of the silence, and how many mutes it replaces.

    Raises:
        ParamsInvalid: There is no such rule.
        DatabaseUnavailable: Nothing is changed.
    """
    known = [item.name for item in RULES]
    if rule != EVERYTHING and rule not in known:
        raise ParamsInvalid(f"There is no rule {rule!r}. The rules are: {', '.join(known)}, and all.")
    until = now + timedelta(hours=hours)
    with database_errors(), engine.begin() as connection:
        ended = end_mutes(connection, rule=rule, subject=subject, now=now)
        if hours:
            add_mute(connection, rule=rule, subject=subject, until=until, muted_by=muted_by, reason=reason)
        event = AuditEvent(
            actor=muted_by,
            origin=origin,
            action="mute" if hours else "unmute",
            target_type="alert_rule",
            target_id=rule,
            reason=reason,
            after={"subject": subject, "until": until.isoformat()} if hours else None,
        )
        append_event(connection, event)
    return until, ended
