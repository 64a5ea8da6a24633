from __future__ import annotations

from datetime import UTC, datetime

import pytest

from k9ops.cli.since import parse_since
from k9ops.config.settings import Settings
from k9ops.errors import ParamsInvalid

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("30m", datetime(2026, 11, 24, 11, 30, tzinfo=UTC)),
        ("2h", datetime(2026, 11, 24, 10, tzinfo=UTC)),
        ("7d", datetime(2026, 11, 17, 12, tzinfo=UTC)),
        ("2026-11-24", datetime(2026, 11, 23, 21, tzinfo=UTC)),
        ("2026-11-24T08:00", datetime(2026, 11, 24, 5, tzinfo=UTC)),
        ("2026-11-24T08:00+00:00", datetime(2026, 11, 24, 8, tzinfo=UTC)),
    ],
)
def test_parse_since_takes_a_time_ago_or_a_local_date(text: str, moment: datetime) -> None:
    assert parse_since(text, Settings(timezone="Asia/Riyadh"), now=NOW) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "-2h", "2", "2y", "2026-13-01", "9999999d", "999999w"])
def test_parse_since_refuses_anything_else(text: str) -> None:
    with pytest.raises(ParamsInvalid, match="it must be a time ago"):
        parse_since(text, Settings(), now=NOW)
