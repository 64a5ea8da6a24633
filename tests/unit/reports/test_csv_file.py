from __future__ import annotations

import pytest

from k9ops.reports.csv_file import neutralise


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+966500000000",
        "-2+3",
        "@SUM(A1)",
        " =1",
        "\u200b=1",
        "＝1",
        "%0A=1",
        "|calc",
        "name;=cmd|' /C calc'!A0",
        'a"=1',
        "line\n=1",
    ],
)
def test_neutralise_puts_an_apostrophe_before_what_would_run(text: str) -> None:
    shown = neutralise(text)
    assert shown != text
    assert shown.replace("'", "") == text.replace("'", "")
    assert neutralise(shown) == shown


@pytest.mark.parametrize("text", ["أحمد", "K9-001", "10:00-14:00", "a = b", "2 x 15", "50%", ""])
def test_neutralise_leaves_ordinary_text(text: str) -> None:
    assert neutralise(text) == text
