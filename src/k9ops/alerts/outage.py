"""PostgreSQL is away: nobody can be elected through it, so one process of each machine tells, by a locked file."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from k9ops.alerts.channels import Send
from k9ops.alerts.incidents import Incident
from k9ops.alerts.texts import describe
from k9ops.config.logging import get_logger
from k9ops.config.settings import Settings
from k9ops.errors import AlertUndelivered

_LOG = get_logger("k9ops.alerts")
_RULE = "database_away"


def tell_outage(settings: Settings, channels: Mapping[str, Send], problem: str, *, now: datetime) -> bool:
    """Tell once that PostgreSQL is away, when that has lasted for the grace; also again after the time of a reminder.

    Args:
        settings: Graces, the folder of the file.
        channels: Those that need no database are used.
        problem: PostgreSQL's words, without secrets.
        now: Aware.

    Returns:
        Whether this process told it now.
    """
    with _state(settings) as state:
        began = state.setdefault("began_at", now.isoformat())
        told_at = state.get("told_at")
        since_s = (now - datetime.fromisoformat(told_at or began)).total_seconds()
        is_due = since_s >= (settings.alert_remind_h * 3600 if told_at else settings.alert_queue_grace_s)
        if not is_due or (told_at and not settings.alert_remind_h) or _is_window(settings, now):
            return False
        kind = "reminder" if told_at else "alert"
        state["told_at"] = now.isoformat()
        _send(settings, channels, kind, problem, began=datetime.fromisoformat(began), now=now)
    return True


def tell_return(settings: Settings, channels: Mapping[str, Send], *, now: datetime) -> bool:
    """Tell that PostgreSQL is back, if people were told that it was away. Return whether they were."""
    if not _path(settings).exists():
        return False
    with _state(settings) as state:
        began, told_at = state.pop("began_at", None), state.pop("told_at", None)
        if began is None or told_at is None:
            return False
        words = "PostgreSQL answers again."
        _send(settings, channels, "recovery", words, began=datetime.fromisoformat(began), now=now)
    return True


def _send(
    settings: Settings, channels: Mapping[str, Send], kind: str, words: str, *, began: datetime, now: datetime
) -> None:
    content = describe(settings, kind, Incident(0, _RULE, "", words, began), now=now)
    _LOG.warning("outage.told", kind=kind, problem=words)
    for name, send in channels.items():
        if name == "notification":
            continue
        try:
            send(content, f"k9ops-{_RULE}-{kind}-{now:%Y%m%dT%H%M%S}")
        except AlertUndelivered as exc:
            _LOG.warning("alert.undelivered", channel=name, problem=exc.user_message, given_up=True)


def _is_window(settings: Settings, now: datetime) -> bool:
    return any(window.covers(now, settings.zone) for window in settings.maintenance_windows)


def _path(settings: Settings) -> Path:
    return settings.state_dir / "outage.json"


@contextlib.contextmanager
def _state(settings: Settings) -> Iterator[dict[str, Any]]:
    """Hold the machine's note of the outage; whoever waits for it sees what was told."""
    path = _path(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            state = json.loads(file.read() or "{}")
        except ValueError:
            state = {}
        yield state
        file.seek(0)
        file.truncate()
        json.dump(state, file)
