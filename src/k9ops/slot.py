"""A slot: one due moment of a schedule."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from k9ops.errors import ParamsInvalid


def parse_slot(value: Any) -> datetime | None:
    """Return the slot that a job's `slot` parameter names, aware UTC; None for none.

    Raises:
        ParamsInvalid: As `parse_moment`.
    """
    return parse_moment(value, name="slot")


def parse_moment(value: Any, *, name: str) -> datetime | None:
    """Return the moment that a parameter names, aware UTC; None for none.

    Raises:
        ParamsInvalid: The text is not an ISO 8601 moment with an offset.
    """
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ParamsInvalid(f"{name} = {value!r}: it must be a moment with an offset, such as 2026-11-24T02:00:00+03:00.")


def find_run_slot(params: Mapping[str, Any]) -> datetime | None:
    """Return the slot that a run with these parameters will be the only one of, aware UTC; None for none.

    A dry run does not do the slot's work, and is not its run.

    Raises:
        ParamsInvalid: As `parse_slot`, or the slot lies in the future: it would be taken for done when it comes.
    """
    slot = parse_slot(params.get("slot"))
    if params.get("dry_run"):
        return None
    if slot is not None and slot > datetime.now(UTC):
        raise ParamsInvalid(
            f"slot = {params['slot']!r}: it lies in the future, and would be taken for done when it comes."
        )
    return slot
