"""What Google Drive says about its room and our credentials, asked a few times a day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from k9ops.alerts.situation import DriveFacts, Room
from k9ops.backups.application import read_wishes
from k9ops.backups.drive_access import open_drive
from k9ops.config.settings import Settings
from k9ops.errors import DriveAccessRevoked, DriveNotConnected, K9opsError, SecretUnreadable
from k9ops.outcome import Execution

_EVERY = timedelta(hours=6)


def is_look_due(facts: DriveFacts, *, now: datetime) -> bool:
    """Tell whether it is time to ask again."""
    return facts.asked_at is None or not timedelta(0) <= now - facts.asked_at < _EVERY


def look_at_drive(settings: Settings, engine: Engine, now: datetime) -> DriveFacts:
    """Ask Google Drive, where uploads are switched on; one that does not answer now is asked again later."""
    facts = DriveFacts(asked_at=now)
    try:
        if not read_wishes(engine).google_drive_enabled:
            return facts
        with open_drive(settings, engine, execution=Execution()) as store:
            quota = store.read_quota()
    except (DriveNotConnected, DriveAccessRevoked, SecretUnreadable) as exc:
        return replace(facts, problem=exc.user_message)
    except K9opsError:
        return facts
    if quota.limit_bytes is None or quota.free_bytes is None:
        return facts
    return replace(facts, room=Room(quota.free_bytes, quota.limit_bytes))


def facts_to(facts: DriveFacts) -> dict[str, Any]:
    """Return the JSON form."""
    room = facts.room
    return {
        "asked_at": facts.asked_at.isoformat() if facts.asked_at else None,
        "free_bytes": room.free_bytes if room else None,
        "total_bytes": room.total_bytes if room else None,
        "problem": facts.problem,
    }


def facts_from(document: Mapping[str, Any]) -> DriveFacts:
    """Read the JSON form."""
    if not document.get("asked_at"):
        return DriveFacts()
    free, total = document.get("free_bytes"), document.get("total_bytes")
    return DriveFacts(
        asked_at=datetime.fromisoformat(document["asked_at"]),
        room=Room(free, total) if free is not None and total is not None else None,
        problem=document.get("problem"),
    )
