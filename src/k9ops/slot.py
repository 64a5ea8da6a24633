"""A slot: one due moment of a schedule."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from k9ops.errors import ParamsInvalid


def parse_slot(value: Any) -> datetime | None:
    """Return the slot that a job's `slot` parameter names, aware UTC; None for none.

    Raises:
        ParamsInvalid: The text is not an ISO 8601 moment with an offset.
    """
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ParamsInvalid(f"slot = {value!r}: it must be a moment with an offset, such as 2026-11-24T02:00:00+03:00.")
    return moment.astimezone(UTC)
