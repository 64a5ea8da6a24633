from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from k9ops.errors import ParamsInvalid
from k9ops.slot import find_run_slot, parse_slot


@pytest.mark.parametrize(
    "value", ["0001-01-01T00:00:00+03:00", "9999-12-31T23:00:00-03:00", "2026-11-24T02:00", "x", 5]
)
def test_parse_slot_refuses_what_is_no_moment_in_utc(value: object) -> None:
    with pytest.raises(ParamsInvalid, match="it must be a moment with an offset"):
        parse_slot(value)


def test_run_of_a_slot_takes_it_unless_it_is_a_dry_run() -> None:
    slot = "2026-11-24T02:00:00+03:00"
    assert find_run_slot({"slot": slot}) == find_run_slot({"slot": slot, "dry_run": False}) == parse_slot(slot)
    assert find_run_slot({"slot": slot, "dry_run": True}) is None
    assert find_run_slot({"slot": None}) is find_run_slot({}) is None


def test_slot_of_the_future_is_refused_except_for_a_dry_run() -> None:
    slot = (datetime.now(UTC) + timedelta(hours=3)).isoformat()
    with pytest.raises(ParamsInvalid, match="lies in the future"):
        find_run_slot({"slot": slot})
    assert find_run_slot({"slot": slot, "dry_run": True}) is None
