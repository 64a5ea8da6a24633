"""The reports that the timetable makes: rows of `k9ops.report_subscription`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import Engine, delete, insert, select
from sqlalchemy.exc import IntegrityError

from k9ops.db.audit import AuditEvent, append_event
from k9ops.db.engine import database_errors
from k9ops.db.own_tables import report_subscription, schedule
from k9ops.errors import SubscriptionConflict, SubscriptionUnknown
from k9ops.private import hide_params


@dataclass(frozen=True)
class Subscription:
    """A report that is made again and again, and where it goes.

    Attributes:
        name: Chosen by a person.
        report: Key of a report.
        params: Texts by name; relative dates count from each slot's day.
        format: `pdf`, `xlsx` or `csv`.
        cron: Five fields in the unit's time zone.
        recipients: As `k9ops.reports.recipients` reads them.
        skip_if_empty: Whether a report without rows is neither made nor sent.
        created_by: Who wants it.
    """

    name: str
    report: str
    params: Mapping[str, str]
    format: str
    cron: str
    recipients: tuple[str, ...]
    skip_if_empty: bool
    created_by: str

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {**asdict(self), "params": dict(self.params), "recipients": list(self.recipients)}


def schedule_name(name: str) -> str:
    """Return the name of a subscription's schedule."""
    return f"report:{name}"


_COLUMNS = tuple(report_subscription.c[item.name] for item in fields(Subscription))


def list_subscriptions(engine: Engine) -> list[Subscription]:
    """Return all of them, by name."""
    with database_errors(), engine.begin() as connection:
        rows = connection.execute(select(*_COLUMNS).order_by(report_subscription.c.name)).mappings()
        return [Subscription(**{**row, "recipients": tuple(row["recipients"])}) for row in rows]


def add_subscription(
    engine: Engine,
    new: Subscription,
    *,
    origin: str | None = None,
    reason: str | None = None,
    private_params: Collection[str] = (),
) -> None:
    """Store one; it holds from the scheduler's next minute on.

    Args:
        engine: The database.
        new: The subscription.
        origin: From where it is asked for, for the audit.
        reason: Why, for the audit.
        private_params: What the audit must not have, e.g. `params.employee`.

    Raises:
        SubscriptionConflict: There is one of this name.
    """
    try:
        with database_errors(), engine.begin() as connection:
            connection.execute(insert(report_subscription).values(**new.to_dict()))
            # Whatever a former one of this name has missed is not made up for.
            connection.execute(delete(schedule).where(schedule.c.name == schedule_name(new.name)))
            event = AuditEvent(
                actor=new.created_by,
                origin=origin,
                action="subscribe",
                target_type="report_subscription",
                target_id=new.name,
                reason=reason,
                after=hide_params(new.to_dict(), private_params),
            )
            append_event(connection, event)
    except IntegrityError:
        raise SubscriptionConflict(f"There is a subscription {new.name!r} already: choose another --name.") from None


def remove_subscription(
    engine: Engine,
    name: str,
    *,
    removed_by: str,
    origin: str | None = None,
    reason: str | None = None,
    private_params: Collection[str] = (),
) -> None:
    """Delete one; reports that are under way are finished and delivered.

    Args:
        engine: The database.
        name: The subscription.
        removed_by: Who asks for it.
        origin: From where, for the audit.
        reason: Why, for the audit.
        private_params: What the audit must not have, e.g. `params.employee`.

    Raises:
        SubscriptionUnknown: There is none of this name.
    """
    statement = delete(report_subscription).where(report_subscription.c.name == name).returning(*_COLUMNS)
    with database_errors(), engine.begin() as connection:
        row = connection.execute(statement).mappings().first()
        if row is None:
            raise SubscriptionUnknown(f"There is no subscription {name!r}. `k9ops report subscriptions` lists them.")
        event = AuditEvent(
            actor=removed_by,
            origin=origin,
            action="unsubscribe",
            target_type="report_subscription",
            target_id=name,
            reason=reason,
            before=hide_params(dict(row), private_params),
        )
        append_event(connection, event)
