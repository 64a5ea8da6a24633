from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k9ops.drive.patience import Patience
from k9ops.drive.problems import parse_retry_after
from k9ops.errors import RunInterrupted
from k9ops.outcome import Execution

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@given(failures=st.integers(1, 1000), unit=st.floats(0, 1), asked=st.none() | st.floats(0, 3600))
def test_wait_doubles_up_to_a_limit_and_is_never_shorter_than_asked_for(
    failures: int, unit: float, asked: float | None
) -> None:
    patience = Patience()
    wait_s = patience.plan_wait(min(failures, 60), asked, unit)
    full_s = min(32.0, 0.5 * 2.0 ** (min(failures, 60) - 1))
    assert max(asked or 0, full_s / 2) <= wait_s <= max(asked or 0, full_s)


def test_wait_ends_when_the_run_must_stop() -> None:
    slept: list[float] = []

    def check_stop() -> None:
        if len(slept) == 2:
            raise RunInterrupted("stop", reason="shutdown")

    with pytest.raises(RunInterrupted):
        Patience(sleep=slept.append).wait(6, None, Execution(check_stop=check_stop))
    assert slept == [0.25, 0.25]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("", None),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("Wed, 25 Nov 2026 12:01:00 GMT", 60.0),
        ("Wed, 25 Nov 2026 11:00:00 GMT", 0.0),
        ("999999", 3600.0),
        ("-5", None),
        ("soon", None),
        ("Wed, 99 Nov 2026 12:01:00 GMT", None),
        ("Wed, 25 Nov 2026 12:01:00", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, seconds: float | None) -> None:
    assert parse_retry_after(text, now=NOW) == seconds
