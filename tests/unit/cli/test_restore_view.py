from __future__ import annotations

from datetime import timedelta

import pytest

from k9ops.cli.restore_view import format_age


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (timedelta(seconds=20), "0 min"),
        (timedelta(minutes=59), "59 min"),
        (timedelta(hours=3, minutes=4), "3 h 4 min"),
        (timedelta(days=40, hours=5), "40 d 5 h"),
        (-timedelta(days=1), "in the future"),
    ],
)
def test_format_age_is_short(age: timedelta, words: str) -> None:
    assert format_age(age) == words
