"""The words of a message, the same on every channel."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from k9ops.alerts.incidents import Incident
from k9ops.config.settings import Settings

_TITLES = {
    "alert": "k9ops: something is wrong",
    "reminder": "k9ops: still wrong",
    "recovery": "k9ops: it is over",
    "test": "k9ops: a test",
}
_ARABIC_TITLES = {
    "alert": "تنبيه من خدمة k9ops",
    "reminder": "تذكير: المشكلة مستمرة",
    "recovery": "انتهت المشكلة",
    "test": "رسالة تجريبية من k9ops",
}


def describe(settings: Settings, kind: str, incident: Incident, *, now: datetime) -> dict[str, Any]:
    """Return the content of a message about an incident: JSON values."""
    since = f"{incident.opened_at.astimezone(settings.zone):%Y-%m-%d %H:%M}"
    text = incident.message if kind == "alert" else f"{incident.message} (since {since})"
    return _content(settings, kind, text) | {
        "incident_id": incident.id,
        "rule": incident.rule,
        "subject": incident.subject,
        "opened_at": incident.opened_at.isoformat(),
        "at": now.isoformat(),
    }


def describe_test(settings: Settings, *, requested_by: str, now: datetime) -> dict[str, Any]:
    """Return the content of a test message."""
    text = f"{requested_by} tests the channels; nothing is wrong."
    return _content(settings, "test", text) | {"rule": "test", "subject": "", "at": now.isoformat()}


def _content(settings: Settings, kind: str, text: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "title": _TITLES[kind],
        "title_ar": _ARABIC_TITLES[kind],
        "text": text,
        "unit": settings.unit_name_en,
        "unit_ar": settings.unit_name_ar,
    }
