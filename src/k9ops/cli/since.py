"""Moments in the past as a person types them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from k9ops.config.settings import Settings
from k9ops.errors import ParamsInvalid

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_since(text: str, settings: Settings, *, now: datetime, option: str = "--since") -> datetime:
    """Return the moment that `--since` or `--until` means.

    Args:
        text: `30m`, `2h`, `7d`, or a date or time, in the unit's time zone unless it has an offset.
        settings: Time zone.
        now: Aware.
        option: As the person called it.

    Raises:
        ParamsInvalid: Neither.
    """
    match = re.fullmatch(r"(\d{1,4})([smhdw])", text.strip())
    if match:
        return now - timedelta(seconds=int(match[1]) * _UNITS_S[match[2]])
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ParamsInvalid(
            f"{option} {text!r}: it must be a time ago such as 30m, 2h or 7d, or a date such as 2026-11-24."
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=settings.zone)
