"""A round of the watchman: look, decide what is told, write that down in one transaction, then deliver."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine

from k9ops.alerts.channels import Send, build_channels, send_ping
from k9ops.alerts.drive_look import facts_from, facts_to, is_look_due, look_at_drive
from k9ops.alerts.incidents import Plan, plan_round
from k9ops.alerts.pings import find_pings, find_settled_moment
from k9ops.alerts.rules import find_conditions
from k9ops.alerts.situation import DriveFacts, read_situation
from k9ops.alerts.store import (
    claim_message,
    close_incident,
    elect,
    note_drive,
    note_pinged,
    note_problem,
    note_round,
    note_sent,
    note_told,
    open_incident,
    prune_messages,
    queue_message,
    read_mutes,
    read_open_incidents,
)
from k9ops.alerts.texts import describe
from k9ops.config.logging import get_logger
from k9ops.config.settings import Settings
from k9ops.db.engine import database_errors
from k9ops.errors import AlertUndelivered
from k9ops.ledger.queue_history import sample_queues

_LOG = get_logger("k9ops.alerts")
_PING_CHANNEL = "ping"
_KEPT = timedelta(days=400)
_MOST_AT_ONCE = 100

LookAtDrive = Callable[[Settings, Engine, datetime], DriveFacts]


def go_round(
    settings: Settings, engine: Engine, *, holder: str, now: datetime, ask_drive: LookAtDrive = look_at_drive
) -> bool:
    """Go a round if it is due and no other process does, then deliver what is due; now and then sample the queues.

    Args:
        settings: Rules, channels.
        engine: The ledger's database.
        holder: Name of this process.
        now: Aware.
        ask_drive: Asks Google Drive for its room.

    Returns:
        Whether this process went the round.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    channels = build_channels(settings, engine)
    with database_errors(), engine.begin() as connection:
        is_elected, rounds = elect(connection, now=now, interval_s=settings.watch_interval_s)
        if is_elected:
            drive = facts_from(rounds.drive if rounds else {})
            situation = read_situation(
                connection, settings, now=now, drive=drive, last_round_at=rounds.round_at if rounds else None
            )
            conditions = find_conditions(situation, settings)
            mutes = read_mutes(connection, now=now)
            in_window = any(window.covers(now, settings.zone) for window in settings.maintenance_windows)
            plan = plan_round(
                read_open_incidents(connection),
                conditions,
                now=now,
                remind_after=timedelta(hours=settings.alert_remind_h),
                is_silent=lambda rule, subject: in_window or any(mute.covers(rule, subject) for mute in mutes),
            )
            _write_down(connection, settings, plan, channels, now=now)
            note_round(connection, holder=holder, now=now)
            if rounds is not None:
                _queue_pings(connection, settings, since=rounds.pinged_until, now=now)
            prune_messages(connection, before=now - _KEPT)
    if is_elected and is_look_due(drive, now=now):
        facts = ask_drive(settings, engine, now)
        with database_errors(), engine.begin() as connection:
            note_drive(connection, facts_to(facts))
    deliver(settings, engine, channels, now=now)
    if is_elected:
        sample_queues(engine, now=now)
    return is_elected


def deliver(settings: Settings, engine: Engine, channels: Mapping[str, Send], *, now: datetime) -> int:
    """Deliver what is due; what does not arrive is tried again later. Return how many messages arrived."""
    arrived = 0
    for _ in range(_MOST_AT_ONCE):
        with database_errors(), engine.begin() as connection:
            message = claim_message(connection, now=now)
        if message is None:
            break
        problem = None
        try:
            if message.channel == _PING_CHANNEL:
                send_ping(settings, message.content)
            elif message.channel in channels:
                channels[message.channel](message.content, f"k9ops-{message.id}")
            else:
                problem = "The channel is not set up any more."
        except AlertUndelivered as exc:
            problem = exc.user_message
        with database_errors(), engine.begin() as connection:
            if problem is None:
                note_sent(connection, message, now=now)
                arrived += 1
            else:
                is_over = note_problem(connection, message, problem, now=now)
                _LOG.warning("alert.undelivered", channel=message.channel, problem=problem, given_up=is_over)
    return arrived


def _write_down(
    connection: Connection, settings: Settings, plan: Plan, channels: Mapping[str, Send], *, now: datetime
) -> None:
    told = [("alert", incident) for incident in plan.alerts] + [("reminder", incident) for incident in plan.reminders]
    for _, incident in told:
        note_told(connection, incident, now=now)
    for condition in plan.opened:
        incident = open_incident(connection, condition, now=now, is_told=condition in plan.told)
        _LOG.warning("incident.opened", rule=incident.rule, subject=incident.subject, problem=incident.message)
        if condition in plan.told:
            told.append(("alert", incident))
    for incident in plan.closed:
        close_incident(connection, incident, now=now)
        duration_s = round((now - incident.opened_at).total_seconds())
        _LOG.info("incident.closed", rule=incident.rule, subject=incident.subject, duration_s=duration_s)
    told += [("recovery", incident) for incident in plan.recoveries]
    for kind, incident in told:
        content = describe(settings, kind, incident, now=now)
        for channel in channels:
            queue_message(connection, channel=channel, kind=kind, content=content, now=now, incident_id=incident.id)


def _queue_pings(connection: Connection, settings: Settings, *, since: datetime, now: datetime) -> None:
    until = max(since, find_settled_moment(connection, now=now))
    for content in find_pings(connection, settings, since=since, now=until):
        queue_message(connection, channel=_PING_CHANNEL, kind=_PING_CHANNEL, content=content, now=now)
    note_pinged(connection, until)
