from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from k9ops.config.windows import parse_windows

RIYADH = ZoneInfo("Asia/Riyadh")


@pytest.mark.parametrize(
    ("text", "moment", "is_covered"),
    [
        ("Thu 12:00-13:00", "2026-11-26T09:00", True),
        ("Thu 12:00-13:00", "2026-11-26T10:00", False),
        ("Wed 12:00-13:00", "2026-11-26T09:30", False),
        ("12:00-12:30", "2026-11-25T09:29", True),
        ("23:30-00:30", "2026-11-26T21:15", True),
        ("Thu 23:30-00:30", "2026-11-26T21:15", True),
        ("Fri 23:30-00:30", "2026-11-26T21:15", False),
        ("Mon 01:00-02:00, thu 12:00-13:00", "2026-11-26T09:00", True),
        ("", "2026-11-26T09:00", False),
    ],
)
def test_window_covers_local_times_of_its_day(text: str, moment: str, is_covered: bool) -> None:
    at = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    assert any(window.covers(at, RIYADH) for window in parse_windows(text)) == is_covered


@pytest.mark.parametrize(
    "text", ["Fri", "02:00", "Fri 2:00-3:00", "Fri 24:00-25:00", "02:00-02:00", "Someday 02:00-03:00"]
)
def test_window_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_windows(text)
